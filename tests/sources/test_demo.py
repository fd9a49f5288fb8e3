"""The bundled recording."""

import itertools

import numpy as np
import soundfile
import soxr

from streamer.audio.vad import VoiceActivityDetector
from streamer.constants import SAMPLE_RATE
from streamer.emotion.labels import LABELS
from streamer.sources.demo import DEMO, WHAT_IT_IS, Demo, captions
from streamer.sources.open import SourceSpec, open_source


def test_it_is_short_small_and_says_what_it_is() -> None:
    with soundfile.SoundFile(DEMO) as file:
        assert 60 <= file.frames / file.samplerate <= 90
        assert "synthetic" in DEMO.name
        assert "Synthetic speech" in file.title
        assert "nobody was recorded" in file.artist
        samples = file.read(dtype="float32")
    assert DEMO.stat().st_size <= 400_000
    assert 0.5 < np.abs(samples).max() < 1.0


def test_several_voices_speak_in_every_mood_around_a_silence_and_a_melody() -> None:
    parts = captions()
    assert {part.mood for part in parts} == {*LABELS, ""}
    assert len({part.voice for part in parts if part.voice}) >= 5
    assert [part.shown for part in parts if not part.mood] == ["nobody speaks", "a melody: nobody speaks"]
    samples, rate_hz = soundfile.read(DEMO, dtype="float32")
    for part, after in itertools.pairwise(parts):
        assert part.start_s < part.end_s < after.start_s
        level = np.abs(samples[round(part.start_s * rate_hz) : round(part.end_s * rate_hz)]).max()
        assert (level < 0.01) == (part.shown == "nobody speaks"), part


def test_the_screen_shows_what_is_heard_at_the_moment_and_again_when_it_repeats() -> None:
    demo = Demo(loop=True)
    demo.open()
    shown: list[str] = []
    for _ in range(40):
        assert demo.read(2 * 24_000) is not None
        for _ in range(3):
            demo.read(2 * 24_000)
        shown.append(demo.device)
    demo.close()
    assert all(text.startswith("synthetic voices: ") for text in shown)
    assert {"flite slt, meant to sound sad", "a melody: nobody speaks"} <= {text.split(": ", 1)[1] for text in shown}
    assert len(shown) > 2 * len(set(shown))


def test_the_demo_says_what_it_is_and_what_to_expect_of_it() -> None:
    status = open_source(SourceSpec("demo")).status()
    assert status.detail == WHAT_IT_IS
    assert status.device == "synthetic voices"


def test_most_of_it_is_speech() -> None:
    samples, rate_hz = soundfile.read(DEMO, dtype="float32")
    chunks = VoiceActivityDetector().step(soxr.resample(samples, rate_hz, SAMPLE_RATE))
    assert np.mean([chunk.probability > 0.5 for chunk in chunks]) >= 0.6
