"""Files and pipes as sources."""

import gc
import io
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from streamer.audio.pipe import Pipe
from streamer.audio.playback import BlockReader, Pace, Playback
from streamer.audio.recording import Recording
from streamer.audio.resample import to_mono
from streamer.audio.ring import RingBuffer
from streamer.audio.source import PcmFormat
from streamer.constants import SAMPLE_RATE
from streamer.errors import StreamerError, UsageError

FAST: Pace = "unpaced"


def noise(frames: int, channels: int = 1) -> np.ndarray:
    return (np.random.default_rng(2).standard_normal((frames, channels)) * 0.1).astype(np.float32)


def wait_for(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def read_to_end(ring: RingBuffer) -> np.ndarray:
    parts = [np.zeros(0, dtype=np.float32)]
    deadline = time.monotonic() + 10.0
    while not (ring.stats().ended and ring.available() == 0):
        assert time.monotonic() < deadline
        chunk = ring.read(1, ring.capacity)
        if chunk is None:
            ring.on_write.wait(0.05)
            ring.on_write.clear()
        else:
            assert not chunk.broken
            parts.append(chunk.samples)
    return np.concatenate(parts)


def play(
    source: BlockReader, pace: Pace = FAST, channel: int | None = None, room_s: float = 0.5
) -> tuple[np.ndarray, Playback]:
    """All that `source` gives, through a ring that is shorter than it."""
    ring = RingBuffer(round(room_s * SAMPLE_RATE))
    playback = Playback("file", source, ring, pace, channel)
    playback.start()
    samples = read_to_end(ring)
    playback.stop()
    return samples, playback


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "w64"])
@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (44_100, 2), (48_000, 6)])
def test_whatever_libsndfile_reads_is_heard_whole(tmp_path: Path, suffix: str, rate_hz: int, channels: int) -> None:
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
def test_compressed_files_are_heard_too(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sound.{suffix}"
    soundfile.write(path, noise(24_000), 24_000)
    samples, playback = play(Recording(path))
    assert abs(len(samples) - 24_000) < 2_400
    assert playback.status().detail == ""


def test_a_channel_of_a_file_can_be_picked(tmp_path: Path) -> None:
    signal = noise(24_000, 2)
    soundfile.write(tmp_path / "two.wav", signal, 24_000, subtype="FLOAT")
    np.testing.assert_array_equal(play(Recording(tmp_path / "two.wav"), channel=1)[0], signal[:, 1])


def test_a_channel_that_a_file_lacks_is_refused_at_the_start(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", noise(100), 24_000)
    playback = Playback("file", Recording(tmp_path / "one.wav"), RingBuffer(100), FAST, channel=1)
    with pytest.raises(UsageError, match=r"Channel 1 of one\.wav does not exist"):
        playback.start()


def test_a_file_plays_in_real_time_without_drift(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, noise(24_000), 48_000)
    ring = RingBuffer(SAMPLE_RATE)
    playback = Playback("file", Recording(path), ring, "real time")
    began, began_epoch = time.monotonic(), time.time()
    playback.start()
    wait_for(lambda: ring.stats().ended)
    assert time.monotonic() - began >= 0.5
    assert playback.realtime
    times = [ring.time_of(position) or 0.0 for position in (0, 1_000, 5_000, 12_000)]
    np.testing.assert_allclose(np.array(times) - times[0], np.array([0, 1_000, 5_000, 12_000]) / SAMPLE_RATE, atol=1e-3)
    assert began_epoch - 0.01 <= times[0] < began_epoch + 2.0


def test_fast_time_is_file_time_since_the_start(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, noise(8_000 * 60), 8_000)
    ring = RingBuffer(SAMPLE_RATE)
    playback = Playback("file", Recording(path), ring, FAST)
    began = time.time()
    playback.start()
    read_to_end(ring)
    assert ring.time_of(60 * SAMPLE_RATE) == pytest.approx(began + 60.0, abs=2.0)
    assert ring.stats().overwritten == 0


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
        ("text.txt", b"hello world", "is not an audio file that libsndfile reads"),
        ("empty.wav", b"", "is not an audio file that libsndfile reads"),
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
def test_a_file_that_was_cut_short_plays_what_it_has_and_says_so(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, noise(24_000 * 4), 24_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    samples, playback = play(Recording(path))
    assert SAMPLE_RATE < len(samples) < 3 * SAMPLE_RATE
    assert playback.status().state == "failed"
    assert f"'cut.{suffix}' is damaged or cut short after " in playback.status().detail


def test_a_wav_of_unknown_length_is_not_called_damaged(tmp_path: Path) -> None:
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


def test_muting_pauses_a_file_and_announces_a_gap(tmp_path: Path) -> None:
    signal = noise(24_000)
    soundfile.write(tmp_path / "file.wav", signal, 24_000, subtype="FLOAT")
    ring = RingBuffer(SAMPLE_RATE)
    playback = Playback("file", Recording(tmp_path / "file.wav"), ring, "real time")
    playback.start()
    wait_for(lambda: ring.available() > 2_000)
    playback.mute(True)
    wait_for(lambda: playback.status().state == "muted")
    written = ring.stats().written
    time.sleep(0.15)
    assert ring.stats().written == written
    playback.mute(False)
    wait_for(lambda: ring.stats().ended)
    chunks = list(iter(lambda: ring.read(1, SAMPLE_RATE), None))
    assert [chunk.broken for chunk in chunks] == [False, True]
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in chunks]), signal[:, 0])


def test_a_fast_source_that_waits_for_its_reader_can_be_stopped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "file.wav", noise(24_000), 24_000)
    ring = RingBuffer(100)
    playback = Playback("file", Recording(tmp_path / "file.wav"), ring, FAST)
    playback.start()
    wait_for(lambda: ring.available() == 100)
    playback.stop()
    assert ring.stats().ended
    assert playback.status().state == "ended"


class Trickle(io.RawIOBase):
    """A stream that gives `content` in pieces of changing, awkward sizes."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)
        self._sizes = iter(([1, 3, 2, 777, 5] * len(content))[: len(content) + 1])

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        piece = self._content.read(min(len(buffer), next(self._sizes)))
        buffer[: len(piece)] = piece
        return len(piece)


@pytest.mark.parametrize("encoding", ["s16le", "f32le"])
@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (44_100, 2), (24_000, 3)])
def test_frames_that_reads_cut_apart_are_put_together(encoding: str, rate_hz: int, channels: int) -> None:
    signal = noise(rate_hz // 4, channels)
    block = (signal * 32_767).astype("<i2") if encoding == "s16le" else signal.astype("<f4")
    pipe = Pipe(Trickle(block.tobytes()), PcmFormat(encoding, rate_hz, channels))  # type: ignore[arg-type]
    samples, playback = play(pipe)
    np.testing.assert_array_equal(samples, soxr.resample(to_mono(block), rate_hz, SAMPLE_RATE))
    assert playback.status().detail == ""


def test_a_pipe_ends_in_the_middle_of_a_frame_with_a_word() -> None:
    samples, playback = play(Pipe(io.BytesIO(b"\0" * 4_803), PcmFormat("s16le", 24_000, 1)))
    assert len(samples) == 2_401
    assert "ended with 1 bytes of an unfinished frame; check --format" in playback.status().detail


def test_a_pipe_that_brings_nothing_says_so() -> None:
    samples, playback = play(Pipe(io.BytesIO(b""), PcmFormat()))
    assert len(samples) == 0
    assert "ended before it delivered any audio" in playback.status().detail


def test_numbers_that_are_not_finite_are_replaced_and_told() -> None:
    signal = noise(24_000)[:, 0]
    signal[[5, 6]] = [np.nan, np.inf]
    samples, playback = play(Pipe(io.BytesIO(signal.tobytes()), PcmFormat("f32le", 24_000, 1)))
    assert np.isfinite(samples).all()
    assert playback.status().detail.startswith("2 samples were not finite numbers and were replaced by 0")


def test_a_terminal_is_no_pipe() -> None:
    master, slave = os.openpty()
    with os.fdopen(slave, "rb", buffering=0) as terminal:
        playback = Playback("stdin", Pipe(terminal, PcmFormat()), RingBuffer(10), FAST)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="Standard input is a terminal; pipe raw PCM into it"):
            playback.start()
    os.close(master)


def test_a_live_pipe_is_timed_on_arrival_dropped_while_muted_and_can_be_stopped_while_it_waits() -> None:
    read_end, write_end = os.pipe()
    ring = RingBuffer(SAMPLE_RATE)
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb", buffering=0) as writer:
        playback = Playback("stdin", Pipe(reader, PcmFormat("s16le", 24_000, 1)), ring, "as delivered")
        playback.start()
        assert playback.realtime
        before = time.time()
        writer.write(np.full(2_400, 1_000, dtype="<i2").tobytes())
        wait_for(lambda: ring.stats().written >= 2_400)
        assert before - 0.01 <= (ring.time_of(2_400) or 0.0) <= time.time() + 0.01

        playback.mute(True)
        wait_for(lambda: playback.status().state == "muted")
        writer.write(np.full(2_400, 2_000, dtype="<i2").tobytes())
        time.sleep(0.25)
        playback.mute(False)
        wait_for(lambda: playback.status().state == "live")
        writer.write(np.full(2_400, 3_000, dtype="<i2").tobytes())
        wait_for(lambda: ring.stats().written >= 4_800)

        playback.stop()
        assert ring.stats().ended
    chunks = list(iter(lambda: ring.read(1, SAMPLE_RATE), None))
    assert [chunk.broken for chunk in chunks] == [False, True]
    heard = np.concatenate([chunk.samples for chunk in chunks])
    assert len(heard) == 4_800
    assert set(np.round(heard * 32_768).astype(int)) == {1_000, 3_000}


def test_a_live_pipe_that_nobody_reads_overwrites_and_counts() -> None:
    ring = RingBuffer(1_000)
    playback = Playback("stdin", Pipe(io.BytesIO(bytes(48_000)), PcmFormat("s16le", 24_000, 1)), ring, "as delivered")
    playback.start()
    wait_for(lambda: ring.stats().ended)
    assert ring.stats().overwritten == 23_000


def test_a_defect_shows_in_the_status_and_ends_the_ring() -> None:
    class Broken:
        device, rate_hz, channels, problem = "broken", 24_000.0, 1, ""

        def open(self) -> None: ...

        def read(self, frames: int) -> np.ndarray:
            raise ZeroDivisionError("oops")

        def close(self) -> None: ...

    ring = RingBuffer(10)
    playback = Playback("file", Broken(), ring, FAST)
    playback.start()
    wait_for(lambda: ring.stats().ended)
    assert playback.status().state == "failed"
    assert "internal error: ZeroDivisionError('oops')" in playback.status().detail


def test_stopping_twice_and_before_the_start_is_safe() -> None:
    playback = Playback("file", Recording("nowhere.wav"), RingBuffer(10), FAST)
    playback.stop()
    playback.stop()
    assert playback.ring.stats().ended


def test_no_thread_is_left_behind(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "file.wav", noise(24_000 * 60), 24_000)
    playback = Playback("file", Recording(tmp_path / "file.wav"), RingBuffer(100), "real time")
    playback.start()
    assert any(thread.name == "playback file" for thread in threading.enumerate())
    playback.stop()
    assert not any(thread.name == "playback file" for thread in threading.enumerate())


def test_a_pipe_that_nobody_else_holds_stays_open() -> None:
    reading, writing = os.pipe()
    pipe = Pipe(os.fdopen(reading, "rb"), PcmFormat("s16le", 24_000, 1))
    pipe.open()
    gc.collect()
    os.write(writing, bytes(640))
    os.close(writing)
    block = pipe.read(320)
    pipe._given.close()
    assert block is not None
    assert len(block) == 320
