"""A file or a pipe as a source: pace, times, muting, ends."""

import io
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.audio.ring import RingBuffer
from streamer.constants import SAMPLE_RATE
from streamer.decoding.files import read_whole
from streamer.decoding.recording import Recording
from streamer.errors import UsageError
from streamer.sources.pipe import Pipe
from streamer.sources.playback import Playback
from streamer.sources.source import PcmFormat
from tests.sources.playing import FAST, noise, play, read_to_end, wait_for


def test_a_channel_of_a_file_can_be_picked(tmp_path: Path) -> None:
    signal = noise(24_000, 2)
    soundfile.write(tmp_path / "two.wav", signal, 24_000, subtype="FLOAT")
    np.testing.assert_array_equal(play(Recording(tmp_path / "two.wav"), channel=1)[0], signal[:, 1])


def test_a_file_in_opposite_phase_is_played_from_one_channel_and_the_status_tells_it(tmp_path: Path) -> None:
    left = noise(24_000)[:, 0]
    soundfile.write(tmp_path / "opposite.wav", np.stack([left, -left], axis=1), 24_000, subtype="FLOAT")
    samples, playback = play(Recording(tmp_path / "opposite.wav"))
    status = playback.status()
    np.testing.assert_array_equal(samples, left)
    assert status.state == "ended"
    assert "only channel 0 is used" in status.detail
    np.testing.assert_array_equal(read_whole(tmp_path / "opposite.wav"), left)


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


def test_with_fast_nothing_is_lost_and_the_ring_knows_no_capture_time(tmp_path: Path) -> None:
    """The events of a recording have the moment at which they occur; see `StreamRuntime`."""
    path = tmp_path / "long.wav"
    soundfile.write(path, noise(8_000 * 60), 8_000)
    ring = RingBuffer(SAMPLE_RATE)
    playback = Playback("file", Recording(path), ring, FAST)
    playback.start()
    assert len(read_to_end(ring)) == 60 * SAMPLE_RATE
    assert ring.time_of(60 * SAMPLE_RATE) is None
    assert ring.stats().overwritten == 0


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


def test_numbers_that_are_not_finite_are_replaced_and_reported() -> None:
    signal = noise(24_000)[:, 0]
    signal[[5, 6]] = [np.nan, np.inf]
    samples, playback = play(Pipe(io.BytesIO(signal.tobytes()), PcmFormat("f32le", 24_000, 1)))
    assert np.isfinite(samples).all()
    assert playback.status().detail.startswith("2 samples were not finite numbers and became 0; check --format.")


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
    captured = np.concatenate([chunk.samples for chunk in chunks])
    assert len(captured) == 4_800
    assert set(np.round(captured * 32_768).astype(int)) == {1_000, 3_000}


def test_a_live_pipe_without_a_reader_overwrites_and_counts() -> None:
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
