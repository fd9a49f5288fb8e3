"""Audio files, whole and damaged, played as a source."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from streamer.audio.resample import to_mono
from streamer.audio.ring import RingBuffer
from streamer.constants import SAMPLE_RATE
from streamer.decoding.recording import Recording
from streamer.errors import StreamerError
from streamer.sources.playback import Playback
from tests.sources.playing import FAST, noise, play, wait_for


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "w64"])
@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (44_100, 2), (48_000, 6)])
def test_whatever_libsndfile_reads_is_played_whole(tmp_path: Path, suffix: str, rate_hz: int, channels: int) -> None:
    path = tmp_path / f"sound.{suffix}"
    soundfile.write(path, noise(rate_hz, channels), rate_hz, subtype="PCM_16")
    samples, playback = play(Recording(path))
    stored, _ = soundfile.read(path, dtype="float32", always_2d=True)
    np.testing.assert_array_equal(samples, soxr.resample(to_mono(stored), rate_hz, SAMPLE_RATE))
    status = playback.status()
    assert (status.state, status.detail, status.device) == ("ended", "", path.name)
    assert (status.native_rate_hz, status.effective_rate_hz) == (rate_hz, None)
    assert not playback.realtime


@pytest.mark.parametrize("suffix", ["ogg", "mp3"])
def test_compressed_files_are_played_too(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sound.{suffix}"
    soundfile.write(path, noise(24_000), 24_000)
    samples, playback = play(Recording(path))
    assert abs(len(samples) - 24_000) < 2_400
    assert playback.status().detail == ""


def test_a_looped_recording_begins_again_without_a_gap(tmp_path: Path) -> None:
    signal = noise(2_400)
    soundfile.write(tmp_path / "loop.wav", signal, 24_000, subtype="FLOAT")
    ring = RingBuffer(24_000)
    playback = Playback("demo", Recording(tmp_path / "loop.wav", loop=True), ring, FAST)
    playback.start()
    wait_for(lambda: ring.available() == 24_000)
    chunk = ring.read(24_000, 24_000)
    playback.stop()
    assert chunk is not None
    np.testing.assert_array_equal(chunk.samples, np.tile(signal[:, 0], 10))
    assert ring.stats().gaps == 0


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("missing.wav", None, "cannot be read: No such file or directory; name an audio file"),
        ("text.txt", b"hello world", "is not a recording that FFmpeg or libsndfile reads"),
        ("empty.wav", b"", "is empty; name an audio file"),
        ("cut.mp4", (b"\0\0\0\x14ftypisom\0\0\0\0isom\0\1\0\0mdat"), "is cut short, and what says how to decode it"),
        ("samples.raw", b"1234", "pipe raw PCM in with `-`"),
        (".", None, "cannot be read: Is a directory"),
    ],
)
def test_a_file_that_is_no_audio_is_refused_at_the_start(
    tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    playback = Playback("file", Recording(tmp_path / name), RingBuffer(100), FAST)
    with pytest.raises(StreamerError, match=sentence):
        playback.start()
    playback.stop()
    assert playback.status().state == "ended"


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "mp3"])
def test_a_truncated_file_plays_what_it_has_and_says_so(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, noise(24_000 * 4), 24_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    samples, playback = play(Recording(path))
    assert SAMPLE_RATE < len(samples) < 3 * SAMPLE_RATE
    assert playback.status().state == "failed"
    assert f"'cut.{suffix}' is damaged or cut short after " in playback.status().detail


def test_a_wav_of_unknown_length_is_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "streamed.wav"
    soundfile.write(path, noise(24_000), 24_000)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    samples, playback = play(Recording(path))
    assert len(samples) == 24_000
    assert playback.status().detail == ""


def test_a_file_without_a_sample_says_so(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nothing.wav", noise(0), 24_000)
    samples, playback = play(Recording(tmp_path / "nothing.wav", loop=True))
    assert len(samples) == 0
    assert "'nothing.wav' holds no audio" in playback.status().detail
