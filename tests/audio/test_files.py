"""Two readers of recordings: one replaces or ignores defects, the other refuses them."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.audio import files
from streamer.audio.files import UnreadableError, read_facts, read_lenient, read_strict, read_strict_blocks
from streamer.errors import StreamerError


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, samples).astype(np.float32)


def write(path: Path, audio: np.ndarray, rate_hz: int = 24_000) -> Path:
    soundfile.write(path, audio, rate_hz, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_both_readers_return_the_mean_of_the_channels_at_24_khz(tmp_path: Path) -> None:
    stereo = np.stack([noise(48_000), np.zeros(48_000, np.float32)], axis=1)
    path = write(tmp_path / "a.wav", stereo, 48_000)
    lenient, strict = read_lenient(path), read_strict(path, read_facts(path))
    assert lenient.dtype == strict.dtype == np.float32
    assert len(lenient) == len(strict) == read_facts(path).samples == 24_000
    np.testing.assert_allclose(lenient, strict, atol=1e-6)


@pytest.mark.parametrize("rate_hz", [24_000, 16_000, 44_100])
def test_blocks_equal_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate_hz: int) -> None:
    path = write(tmp_path / "a.wav", noise(3 * rate_hz + 17), rate_hz)
    facts = read_facts(path)
    whole = read_strict(path, facts)
    monkeypatch.setattr(files, "BLOCK_S", 1)
    blocks = list(read_strict_blocks(path, facts))
    assert len(blocks) >= 4
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-6)


@pytest.mark.parametrize(("sample", "lenient"), [(np.nan, 0.0), (np.inf, np.finfo(np.float32).max)])
def test_a_sample_that_is_not_finite_is_replaced_or_refused(tmp_path: Path, sample: float, lenient: float) -> None:
    audio = noise(2_400)
    audio[100] = sample
    path = write(tmp_path / "a.wav", audio)
    expected = audio.copy()
    expected[100] = lenient
    np.testing.assert_array_equal(read_lenient(path), expected)
    with pytest.raises(UnreadableError, match="holds samples that are not numbers; export it again"):
        read_strict(path, read_facts(path))


@pytest.mark.parametrize("suffix", ["wav", "ogg"])
def test_a_truncated_file_is_read_as_far_as_it_goes_or_refused(tmp_path: Path, suffix: str) -> None:
    path = cut(write(tmp_path / f"a.{suffix}", noise(48_000)))
    assert 0 < len(read_lenient(path)) < 48_000
    with pytest.raises(UnreadableError, match=r"is truncated \(it ends before its header says so\); copy it again"):
        read_facts(path)


def test_a_file_that_is_no_audio_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_text("hello")
    with pytest.raises(StreamerError, match=r"a\.wav cannot be read"):
        read_lenient(file)
    with pytest.raises(UnreadableError, match="is not audio, or of a kind that libsndfile does not read"):
        read_facts(file)


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(0))
    with pytest.raises(StreamerError, match=r"a\.wav holds no sound"):
        read_lenient(path)
    with pytest.raises(UnreadableError, match="holds no sound"):
        read_facts(path)


def test_the_note_names_what_the_conversion_changes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.zeros((100, 2), np.float32), 8_000)
    assert read_facts(path).note == "2 channels were mixed to one; 8,000 Hz: nothing lies above 4,000 Hz"
    assert read_facts(write(tmp_path / "b.wav", noise(100))).note == ""
