"""Recordings read whole: one reader and one policy for defects, for training, evaluation and `streamer embed`."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.decoding import files
from streamer.decoding.files import UnreadableError, read_blocks, read_facts, read_recording, read_whole
from streamer.errors import StreamerError


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, samples).astype(np.float32)


def write(path: Path, audio: np.ndarray, rate_hz: int = 24_000) -> Path:
    soundfile.write(path, audio, rate_hz, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_a_recording_is_the_mean_of_its_channels_at_24_khz(tmp_path: Path) -> None:
    stereo = np.stack([noise(48_000), np.zeros(48_000, np.float32)], axis=1)
    path = write(tmp_path / "a.wav", stereo, 48_000)
    samples = read_recording(path).samples
    assert samples.dtype == np.float32
    assert len(samples) == read_facts(path).samples == 24_000
    np.testing.assert_array_equal(samples, read_whole(path))


@pytest.mark.parametrize("rate_hz", [24_000, 16_000, 44_100])
def test_blocks_equal_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate_hz: int) -> None:
    path = write(tmp_path / "a.wav", noise(3 * rate_hz + 17), rate_hz)
    whole = read_whole(path)
    monkeypatch.setattr(files, "BLOCK_S", 1)
    blocks = list(read_blocks(path))
    assert len(blocks) >= 3
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


@pytest.mark.parametrize("sample", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_becomes_0_and_is_reported(tmp_path: Path, sample: float) -> None:
    audio = noise(2_400)
    audio[100] = sample
    path = write(tmp_path / "a.wav", audio)
    audio[100] = 0
    decoded = read_recording(path)
    np.testing.assert_array_equal(decoded.samples, audio)
    assert (decoded.notice, decoded.problem) == ("1 sample was not a finite number and became 0.", "")
    facts = read_facts(path)
    assert facts.note == "1 sample was not a finite number and became 0"
    assert facts.damage == ""


@pytest.mark.parametrize("samples", [10_000, 10_240, 12_000, 12_288, 48_000])  # in packets of 4,096
def test_apple_lossless_in_caf_keeps_its_end(tmp_path: Path, samples: int) -> None:
    path = tmp_path / "a.caf"
    soundfile.write(path, noise(samples), 24_000, format="CAF", subtype="ALAC_16")
    decoded = read_recording(path)
    np.testing.assert_array_equal(decoded.samples, soundfile.read(path, dtype="float32")[0])
    assert (len(decoded.samples), decoded.notice, decoded.problem) == (samples, "", "")


@pytest.mark.parametrize("suffix", ["wav", "ogg", "flac"])
def test_a_truncated_file_is_read_as_far_as_it_goes_and_reported(tmp_path: Path, suffix: str) -> None:
    path = cut(write(tmp_path / f"a.{suffix}", noise(48_000)))
    decoded = read_recording(path)
    assert 0 < len(decoded.samples) < 48_000
    assert f"'a.{suffix}' is damaged or cut short after " in decoded.problem
    facts = read_facts(path)
    assert facts.samples == len(decoded.samples)
    assert facts.damage.startswith("is damaged or cut short after ")
    assert facts.damage in facts.note


def test_a_file_that_is_no_audio_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_text("hello")
    with pytest.raises(StreamerError, match=r"a\.wav' is not a recording that FFmpeg or libsndfile reads"):
        read_recording(file)
    with pytest.raises(UnreadableError, match=r"^is not a recording that FFmpeg or libsndfile reads"):
        read_facts(file)
    with pytest.raises(UnreadableError, match=r"^cannot be opened \(No such file or directory\)"):
        read_facts(tmp_path / "missing.wav")


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(0))
    with pytest.raises(StreamerError, match=r"a\.wav holds no sound"):
        read_recording(path)
    with pytest.raises(UnreadableError, match="holds no sound"):
        read_facts(path)


def test_a_track_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise(2_400))
    with pytest.raises(UnreadableError, match=r"^has no audio track 1: it has 1, counted from 0; choose another$"):
        read_facts(path, track=1)


def test_the_note_names_what_the_conversion_changes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.zeros((100, 2), np.float32), 8_000)
    assert read_facts(path).note == "2 channels were mixed to one; 8,000 Hz: nothing lies above 4,000 Hz"
    assert read_facts(write(tmp_path / "b.wav", noise(100))).note == ""
