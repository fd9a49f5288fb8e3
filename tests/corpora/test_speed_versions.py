"""Versions of a clip by name, pace and samples."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.constants import SAMPLE_RATE
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import Augmentation
from streamer.corpora.corpus import read_corpus
from streamer.corpora.speed_versions import SpeedVersions
from tests.support.training_corpus import write_corpus


def test_files_of_one_name_in_two_folders_are_two_clips(tmp_path: Path) -> None:
    for folder, level in (("anna", 0.1), ("ben", 0.2)):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "1@2.wav", np.full(2400, level), SAMPLE_RATE)
    file = tmp_path / "mine.csv"
    file.write_text("path,label,speaker\nanna/1@2.wav,happy,anna\nben/1@2.wav,sad,ben\n", encoding="utf-8")
    clips = read_corpus(file).clips
    speeds = SpeedVersions(AudioStore(tmp_path / "work"), 3, 0, Augmentation(speed=1.0))
    speeds.audio.prepare(clips, lambda items, what: items)
    assert [float(speeds.samples(clip.key).max()) for clip in clips] == pytest.approx([0.1, 0.2], abs=1e-3)
    assert len(speeds.samples(speeds.name(clips[0].key, 2))) != 2400


def test_the_recording_itself_and_in_a_stream_keeps_its_pace(tmp_path: Path) -> None:
    clips = read_corpus(write_corpus(tmp_path / "corpus")).clips
    audio = AudioStore(tmp_path / "work")
    audio.prepare(clips, lambda items, what: items)
    speeds = SpeedVersions(audio, 3, 0, Augmentation(speed=1.0))
    key = clips[0].key
    unchanged = SpeedVersions(speeds.audio, 3, 0, Augmentation(speed=0.0))
    assert unchanged.names(key) == [key]
    assert [unchanged.pace(key, version) for version in range(3)] == [1, 1, 1]
    assert speeds.names(key) == [key, f"{key}@2"]
    assert [speeds.pace(key, version) for version in range(2)] == [1, 1]
    assert 0.8 <= speeds.pace(key, 2) <= 1.25
    assert np.array_equal(speeds.samples(key), speeds.audio[key])
