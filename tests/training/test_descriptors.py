"""Descriptors at every frame."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamer.constants import FRAME_SAMPLES, SAMPLE_RATE
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import clips_of, read_corpora
from streamer.training.descriptors import DESCRIPTORS, MELS, DescriptorStore, log_mel, low_level_extractor
from tests.support.training_corpus import write_corpus


def silent(items: Any, what: str) -> Any:
    return items


def tone(pitch_hz: float, seconds: float = 1.0) -> Any:
    return (0.1 * np.sin(2 * np.pi * pitch_hz * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(np.float32)


@pytest.mark.parametrize("samples", [1, FRAME_SAMPLES - 1, FRAME_SAMPLES, 10 * FRAME_SAMPLES + 7])
def test_there_is_a_row_for_every_whole_frame(samples: int) -> None:
    assert log_mel(np.ones(samples, dtype=np.float32)).shape == (max(1, samples // FRAME_SAMPLES), MELS)


def test_a_higher_tone_lies_in_a_higher_band() -> None:
    bands = [int(log_mel(tone(pitch_hz))[40].argmax()) for pitch_hz in (100, 400, 1_000, 4_000, 10_000)]
    assert bands == sorted(set(bands))


def test_log_mel_is_causal() -> None:
    sound = tone(300)
    changed = np.concatenate([sound[: 30 * FRAME_SAMPLES], 5 * sound[30 * FRAME_SAMPLES :]])
    assert np.array_equal(log_mel(sound)[:30], log_mel(changed)[:30])
    assert not np.allclose(log_mel(sound)[30:], log_mel(changed)[30:])


def test_descriptors_follow_the_pitch() -> None:
    extract = low_level_extractor()
    low, high = (extract(sum(tone(n * pitch_hz) for n in (1, 2, 3)), 75)[40] for pitch_hz in (110, 220))
    assert high[10] - low[10] == pytest.approx(12, abs=0.5)  # F0 in semitones: an octave


def test_stored_descriptors_are_standardised_and_kept(tmp_path: Path) -> None:
    clips = clips_of(read_corpora([write_corpus(tmp_path / "corpus")]))
    audio = AudioStore(tmp_path / "work")
    audio.prepare(clips, silent)
    DescriptorStore(tmp_path / "work").prepare(clips, audio, 0, silent)
    again = DescriptorStore(tmp_path / "work")
    again.prepare(clips, audio, 0, lambda items, what: pytest.fail(f"{what} again"))
    rows = np.concatenate([again.frames[clip.key] for clip in clips]).astype(np.float32)
    assert rows.shape[1] == DESCRIPTORS
    assert torch.from_numpy(rows).mean(dim=0).abs().max() < 0.1
