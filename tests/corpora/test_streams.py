"""Streams of joined clips: what is spoken when, without the silence around clips, repeatable by the seed."""

from pathlib import Path

import numpy as np
import pytest

from streamer.constants import SAMPLE_RATE
from streamer.corpora.codecs import random_codec, random_telephone, telephone
from streamer.corpora.corpus import Clip
from streamer.corpora.streams import (
    EMOTION_S,
    OPENING_S,
    JoinedStream,
    Stretch,
    Turn,
    background,
    evaluation_streams,
    evaluation_turns,
    followed_by,
    join_clips,
    training_turns,
    trim,
)

LABELS = ("angry", "happy", "neutral", "sad")


def clips(speaker: str = "a", each: int = 3) -> list[Clip]:
    return [Clip(Path(f"{speaker}-{label}-{i}.wav"), "c", label, speaker) for label in LABELS for i in range(each)]


def tone(seconds: float, before_s: float = 0.4, after_s: float = 0.3, noise: float = 1e-4) -> np.ndarray:
    """A tone of -20 dBFS within faint noise."""
    rng = np.random.default_rng(round(seconds * 1000))
    silence = [noise * rng.standard_normal(round(s * SAMPLE_RATE)) for s in (before_s, after_s)]
    sound = 0.14 * np.sin(np.arange(round(seconds * SAMPLE_RATE)) * 0.1)
    return np.concatenate([silence[0], sound, silence[1]]).astype(np.float32)


def recordings(some: list[Clip]) -> dict[str, np.ndarray]:
    return {clip.key: tone(1.0 + 0.01 * i) for i, clip in enumerate(some)}


def test_a_stream_for_evaluation_is_neutral_speech_with_each_emotion_once_in_between() -> None:
    turns = evaluation_turns(LABELS, np.random.default_rng(0))
    assert turns[0] == Turn("neutral", OPENING_S)
    assert sorted(turn.label for turn in turns[1::2]) == ["angry", "happy", "sad"]
    assert {turn.label for turn in turns[::2]} == {"neutral"}
    assert {turn.least_s for turn in turns[1::2]} == {EMOTION_S}


@pytest.mark.parametrize(
    ("labels", "rest"), [(("angry", "calm", "happy"), "calm"), (("angry", "calm", "neutral"), "neutral")]
)
def test_calm_speech_opens_a_stream_without_neutral_speech(labels: tuple[str, ...], rest: str) -> None:
    assert evaluation_turns(labels, np.random.default_rng(0))[0].label == rest


def test_stretches_cover_the_whole_stream_and_last_as_long_as_their_turn_asks() -> None:
    some = clips()
    (stream,) = evaluation_streams(some, recordings(some), 1, seed=1)
    assert stream.stretches[0].begin == 0
    assert stream.stretches[-1].end == len(stream.samples)
    for before, after in zip(stream.stretches, stream.stretches[1:], strict=False):
        assert before.end == after.begin
    for stretch in stream.stretches[1::2]:
        assert EMOTION_S <= (stretch.end - stretch.begin) / SAMPLE_RATE < EMOTION_S + 2.5


def test_equal_seeds_give_equal_streams_and_other_seeds_others() -> None:
    some = clips()
    audio = recordings(some)
    one, again, other = (evaluation_streams(some, audio, 2, seed) for seed in (1, 1, 2))
    for first, second in zip(one, again, strict=True):
        np.testing.assert_array_equal(first.samples, second.samples)
    assert [s.stretches for s in one] != [s.stretches for s in other]
    assert one[0].stretches != one[1].stretches, "each of a speaker's streams has its own order"


def test_every_clip_of_a_label_is_used_before_one_is_used_again() -> None:
    some = [Clip(Path(f"{i}.wav"), "c", "sad", "a") for i in range(3)]
    audio = {clip.key: np.full(SAMPLE_RATE, 0.1 * (i + 1), dtype=np.float32) for i, clip in enumerate(some)}
    stream = join_clips(some, audio, [Turn("sad", 9.0)], np.random.default_rng(0))
    levels = [round(float(stream.samples[(begin + end) // 2]), 1) for begin, end in stream.voiced]
    assert sorted(levels[:3]) == sorted(levels[3:6]) == [0.1, 0.2, 0.3]


def test_training_streams_use_all_clips_about_once_with_neutral_speech_in_between() -> None:
    some = clips(each=8)
    turns = [turn for seed in range(10) for turn in training_turns(some, np.random.default_rng(seed))]
    seconds = {label: sum(turn.least_s for turn in turns if turn.label == label) / 10 for label in LABELS}
    for label in ("angry", "happy", "sad"):
        assert 8 * 2.0 < seconds[label] < 8 * 2.3 + 12
    assert seconds["neutral"] > 1.5 * seconds["sad"]


def test_a_speaker_of_neutral_clips_alone_has_a_training_stream_too() -> None:
    (turn,) = training_turns([Clip(Path("1.wav"), "c", "neutral", "a")], np.random.default_rng(0))
    assert turn.label == "neutral"


def test_outer_silence_is_cut_and_the_speech_stays() -> None:
    trimmed = trim(tone(1.0, before_s=0.7, after_s=0.9))
    assert 1.0 <= len(trimmed) / SAMPLE_RATE <= 1.15
    assert len(trim(np.zeros(3, dtype=np.float32))) == 3, "less than a frame stays as it is"
    assert len(trim(np.zeros(SAMPLE_RATE, dtype=np.float32))) == SAMPLE_RATE


@pytest.mark.parametrize("level", [1e-4, 1e-2])
def test_a_pause_is_as_loud_as_the_clips_own_background(level: float) -> None:
    pause = background(tone(0.5, noise=level), SAMPLE_RATE, np.random.default_rng(0))
    assert len(pause) == SAMPLE_RATE
    assert float(np.sqrt(np.mean(pause**2))) == pytest.approx(level, rel=0.3)
    assert not background(np.zeros(2400, dtype=np.float32), 100, np.random.default_rng(0)).any()


def test_a_window_has_the_label_that_covers_two_thirds_of_it() -> None:
    stream = JoinedStream("c/a", np.zeros(300, np.float32), (Stretch("sad", 0, 200), Stretch("happy", 200, 300)), ())
    assert stream.coverage(100, 300) == {"sad": 0.5, "happy": 0.5}
    assert stream.label(100, 250) == "sad"
    assert stream.label(100, 300) is None


def test_what_the_first_of_two_speakers_says_has_no_label() -> None:
    one, other = (
        JoinedStream(f"c/{name}", np.zeros(100, np.float32), (Stretch("sad", 0, 100),), ((0, 90),)) for name in "ab"
    )
    both = followed_by(one, other)
    assert (both.speaker_id, len(both.samples)) == ("c/b", 200)
    assert both.label(0, 100) is None
    assert both.label(100, 200) == "sad"


def test_a_stream_of_two_speakers_is_refused() -> None:
    some = [*clips("a", 1), *clips("b", 1)]
    with pytest.raises(ValueError, match="one speaker"):
        join_clips(some, recordings(some), [Turn("sad", 1.0)], np.random.default_rng(0))


def test_a_stream_without_a_single_clip_is_refused() -> None:
    some = clips("a", 1)
    with pytest.raises(ValueError, match="No clip"):
        join_clips(some, recordings(some), [Turn("surprised", 1.0)], np.random.default_rng(0))


def test_a_telephone_takes_the_high_frequencies_and_keeps_the_length() -> None:
    audio = (0.1 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)).astype(np.float32)
    heard = telephone(audio)
    assert len(heard) == len(audio)
    spectrum = np.abs(np.fft.rfft(heard)) ** 2
    assert spectrum[5000:].sum() < 1e-3 * spectrum.sum()
    for change in (random_telephone, random_codec):
        coded = change(audio, np.random.default_rng(1))
        assert len(coded) == len(audio)
        assert 0.02 < float(np.std(coded)) < 0.2
