"""What is asked of the teacher once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import Augmentation
from streamer.corpora.corpus import Clip, clips_of, read_corpora
from streamer.corpora.speed_versions import SpeedVersions
from streamer.emotion.labels import LABELS
from streamer.training.teacher import WhisperTeacher
from streamer.training.teacher_targets import COMPONENTS, TeacherStore, fit_probes
from tests.support.training_corpus import write_corpus


def silent(items: Any, what: str) -> Any:
    return items


@pytest.fixture(scope="module")
def teacher() -> WhisperTeacher:
    torch.manual_seed(0)
    return WhisperTeacher()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    return clips_of(read_corpora([write_corpus(tmp_path_factory.mktemp("data") / "corpus")]))


@pytest.fixture(scope="module")
def voices(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> SpeedVersions:
    audio = AudioStore(tmp_path_factory.mktemp("audio"))
    audio.prepare(clips, silent)
    return SpeedVersions(audio, 2, 0, Augmentation(speed=1.0))


def prepared(teacher: WhisperTeacher, clips: list[Clip], voices: SpeedVersions, folder: Path) -> TeacherStore:
    store = TeacherStore(folder, ["ravdess"], teacher, clips, voices)
    store.prepare(0, silent)
    return store


def test_every_clip_has_frames_a_summary_and_an_answer(
    teacher: WhisperTeacher, clips: list[Clip], voices: SpeedVersions, tmp_path: Path
) -> None:
    store = prepared(teacher, clips, voices, tmp_path)
    for clip in clips:
        answer = store.probabilities("ravdess", clip.key)
        assert answer is not None
        assert answer.sum() == pytest.approx(1, abs=1e-5)
        assert np.flatnonzero(answer).tolist() == [0, 4]  # the corpus has neutral and angry
        assert store.frames[clip.key].shape == (25, COMPONENTS)  # 0.5 s x 50
        assert store.utterance(clip.key).shape == (COMPONENTS,)


def test_an_answer_knows_nothing_of_its_own_speaker_s_labels(
    teacher: WhisperTeacher, clips: list[Clip], voices: SpeedVersions, tmp_path: Path
) -> None:
    other = {"neutral": "angry", "angry": "neutral"}
    turned = [replace(clip, label=other[clip.label]) if clip.speaker == "02" else clip for clip in clips]
    before = prepared(teacher, clips, voices, tmp_path / "before")
    after = prepared(teacher, turned, voices, tmp_path / "after")
    changed = set()
    for clip in clips:
        one, two = before.probabilities("ravdess", clip.key), after.probabilities("ravdess", clip.key)
        assert one is not None
        assert two is not None
        if not np.allclose(one, two, atol=1e-4):
            changed.add(clip.speaker)
    assert changed
    assert "02" not in changed


def test_one_speaker_alone_gets_no_answers(
    teacher: WhisperTeacher, clips: list[Clip], voices: SpeedVersions, tmp_path: Path
) -> None:
    alone = [clip for clip in clips if clip.speaker == "01"]
    store = prepared(teacher, alone, voices, tmp_path)
    assert [store.probabilities("ravdess", clip.key) for clip in alone] == [None] * len(alone)
    assert all(clip.key in store for clip in alone)


def test_what_was_answered_is_not_asked_again(
    teacher: WhisperTeacher, clips: list[Clip], voices: SpeedVersions, tmp_path: Path
) -> None:
    prepared(teacher, clips, voices, tmp_path)
    again = TeacherStore(tmp_path, ["ravdess"], teacher, clips, voices)
    again.prepare(0, lambda items, what: pytest.fail(f"{what} again"))
    assert again.probabilities("ravdess", clips[0].key) is not None


def test_another_teacher_answers_for_itself(
    teacher: WhisperTeacher, clips: list[Clip], voices: SpeedVersions, tmp_path: Path
) -> None:
    first = prepared(teacher, clips, voices, tmp_path)
    torch.manual_seed(2)
    other = prepared(WhisperTeacher(), clips, voices, tmp_path)
    assert not np.allclose(first.utterance(clips[0].key), other.utterance(clips[0].key))


def test_opinions_are_asked_anew_where_others_are_learnt_from(
    teacher: WhisperTeacher, clips: list[Clip], voices: SpeedVersions, tmp_path: Path
) -> None:
    """Those of an earlier split were told the labels of speakers who are tested now."""
    prepared(teacher, clips, voices, tmp_path)
    fewer = [clip for clip in clips if clip.speaker != "04"]
    shared = prepared(teacher, fewer, voices, tmp_path)
    alone = prepared(teacher, fewer, voices, tmp_path / "alone")
    for clip in fewer:
        one, two = shared.probabilities("ravdess", clip.key), alone.probabilities("ravdess", clip.key)
        assert one is not None
        assert two is not None
        assert one.argmax() == two.argmax()
    assert all(shared.probabilities("ravdess", clip.key) is None for clip in clips if clip.speaker == "04")


def test_a_voice_of_another_size_is_heard_anew(
    teacher: WhisperTeacher, clips: list[Clip], voices: SpeedVersions, tmp_path: Path
) -> None:
    store = prepared(teacher, clips, voices, tmp_path)
    key = clips[0].key
    name = voices.name(key, 1)
    pace = voices.pace(key, 1)
    assert name != key
    assert len(voices.samples(name)) == pytest.approx(12_000 / pace, abs=2)  # 0.5 s x 24,000
    assert len(store.frames[name]) == pytest.approx(25 / pace, abs=1)
    assert not np.allclose(store.utterance(name), store.utterance(key))
    assert store.probabilities("ravdess", name) is not None


def test_the_recording_itself_is_the_only_version_that_keeps_its_pace(voices: SpeedVersions, clips: list[Clip]) -> None:
    key = clips[0].key
    unchanged = SpeedVersions(voices.audio, 3, 0, Augmentation(speed=0.0))
    assert unchanged.names(key) == [key]
    assert [unchanged.pace(key, version) for version in range(3)] == [1, 1, 1]
    assert voices.names(key) == [key, f"{key}@1"]
    assert 0.8 <= voices.pace(key, 1) <= 1.25
    assert np.array_equal(voices.samples(key), voices.audio[key])


def test_every_corpus_has_an_opinion_of_every_clip(
    teacher: WhisperTeacher, clips: list[Clip], voices: SpeedVersions, tmp_path: Path
) -> None:
    other = [replace(clip, corpus="other", label="sad" if clip.label == "angry" else "happy") for clip in clips]
    voices.audio.prepare(other, silent)
    store = TeacherStore(tmp_path, ["ravdess", "other"], teacher, [*clips, *other], voices)
    store.prepare(0, silent)
    for clip in (*clips, *other):
        opinions = store.logits(clip.key)
        assert opinions.shape == (2, len(LABELS))
        assert np.flatnonzero(opinions[0]).tolist() == [LABELS.index("neutral"), LABELS.index("angry")]
        assert np.flatnonzero(opinions[1]).tolist() == [LABELS.index("happy"), LABELS.index("sad")]
        assert opinions.sum(axis=1) == pytest.approx([0, 0], abs=1e-5)


def test_a_listener_hears_other_corpora_and_speakers_it_was_not_fitted_to(clips: list[Clip]) -> None:
    features = np.random.default_rng(0).standard_normal((len(clips), 5)).astype(np.float32)
    listeners = fit_probes(features, clips)
    assert len(listeners) == 4  # a fold for each of four speakers
    for clip in clips:
        assert sum(listener.is_held_out(clip) for listener in listeners) == 1
        assert all(listener.is_held_out(replace(clip, corpus="other")) for listener in listeners)
