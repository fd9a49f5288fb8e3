"""Decoded recordings are cached, a changed file is noticed, and damage stays known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from streamer.constants import FRAME_SAMPLES, SAMPLE_RATE
from streamer.corpora.array_store import RaggedStore
from streamer.corpora.audio_store import AudioStore, require_whole
from streamer.corpora.corpus import Clip, clips_of, read_corpora, read_corpus
from streamer.decoding.files import READER_VERSION
from streamer.errors import StreamerError, UsageError
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


def test_a_damaged_recording_is_used_and_reported_in_this_run_and_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips = clips_of(read_corpora([write_corpus(tmp_path / "corpus")]))
    damaged = clips[3]
    damaged.path.write_bytes(damaged.path.read_bytes()[:12_044])
    for _ in range(2):
        store = AudioStore(tmp_path / "work")
        store.prepare(clips, silent)
        assert len(store[damaged.key]) == 6_000
        (problem,) = store.problems(clips)
        assert problem.startswith(f"{damaged.path.name!r} is damaged or cut short after 0.2 s")
        with pytest.raises(StreamerError, match="All is written, but 1 recording was not read whole: ") as error:
            require_whole(tmp_path / "work", clips)
        assert error.value.exit_code == 1
    assert caplog.text.count("is damaged or cut short") == 1
    require_whole(tmp_path / "work", [clip for clip in clips if clip is not damaged])


def test_what_an_earlier_reader_decoded_is_decoded_again_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips = clips_of(read_corpora([write_corpus(tmp_path / "corpus")]))
    RaggedStore(tmp_path / "work" / "audio", 1, np.int16).append(clips[0].key, np.zeros((5, 1)))
    store = AudioStore(tmp_path / "work")
    assert clips[0].key not in store
    assert "audio.bin was decoded by an earlier version of the reader" in caplog.text
    store.prepare(clips, silent)
    assert len(store[clips[0].key]) == 12_000
    assert (tmp_path / "work" / f"audio-{READER_VERSION}.bin").is_file()
