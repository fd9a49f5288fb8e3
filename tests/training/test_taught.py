"""What is asked of the teacher once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_corpus import write_corpus

from streamer.training.corpora import Clip, clips_of, read_corpora
from streamer.training.material import AudioStore, key_of
from streamer.training.taught import COMPONENTS, TeacherStore
from streamer.training.teacher import WhisperTeacher


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
def audio(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> AudioStore:
    store = AudioStore(tmp_path_factory.mktemp("audio"))
    store.prepare(clips, silent)
    return store


def asked(teacher: WhisperTeacher, clips: list[Clip], audio: AudioStore, folder: Path) -> TeacherStore:
    store = TeacherStore(folder)
    store.prepare(teacher, clips, audio, 0, silent)
    return store


def test_every_clip_has_frames_a_summary_and_an_answer(
    teacher: WhisperTeacher, clips: list[Clip], audio: AudioStore, tmp_path: Path
) -> None:
    store = asked(teacher, clips, audio, tmp_path)
    for clip in clips:
        answer = store.answer(key_of(clip))
        assert answer is not None
        assert answer.sum() == pytest.approx(1, abs=1e-5)
        assert np.flatnonzero(answer).tolist() == [0, 4]  # the corpus has neutral and angry
        assert store.frames[key_of(clip)].shape == (25, COMPONENTS)  # 0.5 s x 50
        assert store.utterance(key_of(clip)).shape == (COMPONENTS,)


def test_an_answer_knows_nothing_of_its_own_speaker_s_labels(
    teacher: WhisperTeacher, clips: list[Clip], audio: AudioStore, tmp_path: Path
) -> None:
    other = {"neutral": "angry", "angry": "neutral"}
    turned = [replace(clip, label=other[clip.label]) if clip.speaker == "02" else clip for clip in clips]
    before = asked(teacher, clips, audio, tmp_path / "before")
    after = asked(teacher, turned, audio, tmp_path / "after")
    changed = set()
    for clip in clips:
        one, two = before.answer(key_of(clip)), after.answer(key_of(clip))
        assert one is not None
        assert two is not None
        if not np.allclose(one, two, atol=1e-4):
            changed.add(clip.speaker)
    assert changed
    assert "02" not in changed


def test_one_speaker_alone_gets_no_answers(
    teacher: WhisperTeacher, clips: list[Clip], audio: AudioStore, tmp_path: Path
) -> None:
    alone = [clip for clip in clips if clip.speaker == "01"]
    store = asked(teacher, alone, audio, tmp_path)
    assert [store.answer(key_of(clip)) for clip in alone] == [None] * len(alone)
    assert all(key_of(clip) in store for clip in alone)


def test_what_was_answered_is_not_asked_again(
    teacher: WhisperTeacher, clips: list[Clip], audio: AudioStore, tmp_path: Path
) -> None:
    asked(teacher, clips, audio, tmp_path)
    again = TeacherStore(tmp_path)
    again.prepare(teacher, clips, audio, 0, lambda items, what: pytest.fail(f"{what} again"))
    assert again.answer(key_of(clips[0])) is not None
