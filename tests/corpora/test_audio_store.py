"""Decoded recordings are cached, and a changed file is noticed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from streamer.constants import FRAME_SAMPLES, SAMPLE_RATE
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip, read_corpus
from streamer.errors import UsageError
from tests.support.training_corpus import write_corpus


def silent(items: Any, what: str) -> Any:
    return items


def test_recordings_are_decoded_once_and_come_back_at_16_bits(tmp_path: Path) -> None:
    clips = read_corpus(write_corpus(tmp_path / "a")).clips
    AudioStore(tmp_path / "work").prepare(clips, silent)
    clips[0].path.rename(tmp_path / "moved.wav")
    expected, _ = soundfile.read(tmp_path / "moved.wav", dtype="float32")
    store = AudioStore(tmp_path / "work")
    assert clips[0].key in store
    assert np.allclose(store[clips[0].key], expected, atol=1 / 32767)


def test_a_recording_has_at_least_one_frame(tmp_path: Path) -> None:
    clips = []
    for samples in (1, FRAME_SAMPLES, 3 * FRAME_SAMPLES - 1):
        soundfile.write(tmp_path / f"{samples}.wav", np.zeros(samples), SAMPLE_RATE)
        clips.append(Clip(tmp_path / f"{samples}.wav", "c", "sad", "1"))
    store = AudioStore(tmp_path / "work")
    store.prepare(clips, silent)
    assert [store.frames(clip.key) for clip in clips] == [1, 1, 2]


def test_a_changed_recording_is_refused(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "a")
    clips = read_corpus(corpus).clips
    AudioStore(tmp_path / "work").prepare(clips, silent)
    AudioStore(tmp_path / "work").prepare(clips, silent)
    soundfile.write(clips[0].path, np.zeros(99), SAMPLE_RATE)
    with pytest.raises(UsageError, match="is not the recording"):
        AudioStore(tmp_path / "work").prepare(clips, silent)
