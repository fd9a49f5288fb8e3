"""A network source's supervisor, one turn at a time, against receptions and a clock that the test holds."""

import itertools
from queue import Queue

import numpy as np
import pytest

from streamer.audio.ring import Chunk, RingBuffer
from streamer.constants import SAMPLE_RATE
from streamer.errors import UsageError
from streamer.sources.connection import Received
from streamer.sources.receiver import Arrived, Item, Lost, Opened
from streamer.sources.reconnect import NetworkSource
from tests.sources.fake_sounddevice import FakeClock

BLOCK_S = 0.02
ENDED = Lost("ended the stream", at_end=True)
REFUSED = Lost("refuses the connection; start its server")
UNAUTHORIZED = Lost("refuses the user or the password (401); write user@", permanent=True)


class FakeReception:
    """Implements `Reception`: what arrives is what the test puts into `items`."""

    def __init__(self) -> None:
        self.items: Queue[Item] = Queue()
        self.cancelled = False
        self.hangs = False

    def cancel(self) -> None:
        self.cancelled = True

    def alive(self) -> bool:
        return self.hangs or not self.cancelled


class Line:
    """A network source in the test's hands."""

    def __init__(self, ring_s: float = 10.0, channel: int | None = None) -> None:
        self.clock = FakeClock()
        self.ring = RingBuffer(round(ring_s * SAMPLE_RATE))
        self.attempts: list[FakeReception] = []
        self.begun_s: list[float] = []
        self.source = NetworkSource("yard", "rtsp://cam/yard", self._connect, self.ring, channel, clock=self.clock)
        self.rng = np.random.default_rng(5)

    def _connect(self) -> FakeReception:
        self.attempts.append(FakeReception())
        self.begun_s.append(self.clock.now)
        return self.attempts[-1]

    @property
    def state(self) -> str:
        return self.source.status().state

    @property
    def detail(self) -> str:
        return self.source.status().detail

    def open(self, length_s: float | None = None, on_demand: bool = False) -> "Line":
        if not self.attempts or self.attempts[-1].cancelled:
            self.source.step()
        self.put(Opened(length_s, on_demand))
        return self

    def put(self, item: Item) -> None:
        self.attempts[-1].items.put(item)
        self.source.step()

    def send(
        self, seconds: float, pace: float = 1.0, rate_hz: float = 24_000.0, channels: int = 1, broken: bool = False
    ) -> np.ndarray:
        """Audio arrives, `pace` times as fast as the clock; returns it ([n, channels])."""
        blocks = []
        for _ in range(round(seconds / BLOCK_S)):
            self.clock.now += BLOCK_S / pace
            frames = self.rng.standard_normal((round(rate_hz * BLOCK_S), channels)).astype(np.float32) * 0.1
            self.put(Arrived(Received(frames, rate_hz, broken), self.clock.now))
            broken = False
            blocks.append(frames)
        return np.concatenate(blocks) if blocks else np.zeros((0, channels), dtype=np.float32)

    def wait(self, seconds: float) -> None:
        """Time passes and nothing arrives."""
        for _ in range(round(seconds / 0.1)):
            self.clock.now += 0.1
            self.source.step()

    def fail(self, lost: Lost, times: int) -> list[float]:
        """Every attempt is lost at once; returns the pauses between them."""
        first = len(self.begun_s)
        while len(self.begun_s) < first + times:
            self.wait(0.1)
            if not self.attempts[-1].cancelled:
                self.put(lost)
        begun = self.begun_s[first - 1 :] if first else self.begun_s
        return [round(later - earlier, 1) for earlier, later in itertools.pairwise(begun)]

    def pause_after(self, lost: Lost) -> float:
        """The connection is lost; returns the seconds until the next attempt."""
        self.put(lost)
        lost_s, begun = self.clock.now, len(self.begun_s)
        while len(self.begun_s) == begun:
            self.wait(0.1)
        return self.begun_s[-1] - lost_s

    def read(self) -> list[Chunk]:
        return list(iter(lambda: self.ring.read(1, self.ring.capacity), None))


def test_audio_is_written_as_it_comes_and_at_the_time_of_its_arrival() -> None:
    line = Line().open()
    sent = line.send(3.0)
    assert (line.state, line.detail) == ("live", "")
    (chunk,) = line.read()
    assert np.array_equal(chunk.samples, sent[: len(chunk.samples), 0])
    assert line.ring.time_of(SAMPLE_RATE) == pytest.approx(line.clock.epoch + 101.0, abs=0.001)
    status = line.source.status()
    assert (status.device, status.native_rate_hz) == ("rtsp://cam/yard", 24_000.0)
    assert status.effective_rate_hz == pytest.approx(24_000.0)


def test_a_sender_whose_clock_runs_fast_is_not_resampled_but_its_rate_is_shown() -> None:
    line = Line(ring_s=120.0).open()
    sent = line.send(70.0, pace=1.001)
    line.source.stop()
    assert len(np.concatenate([chunk.samples for chunk in line.read()])) == len(sent)
    line = Line().open()
    line.send(70.0, pace=1.001)
    assert line.source.status().effective_rate_hz == pytest.approx(24_024.0, abs=2.0)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (ENDED, "rtsp://cam/yard ended the stream; it is opened again by itself."),
        (Lost("has sent nothing for 3 s"), "rtsp://cam/yard has sent nothing for 3 s; it is opened again by itself."),
    ],
)
def test_an_end_and_a_silence_are_losses_and_a_reconnect_is_a_gap(lost: Lost, said: str) -> None:
    line = Line().open()
    before = line.send(1.0)
    line.put(lost)
    assert (line.state, line.detail) == ("source lost", said)
    assert line.attempts[0].cancelled
    line.wait(0.6)
    line.open()
    after = line.send(1.0)
    line.source.stop()
    assert line.state == "ended"
    first, second = line.read()
    assert np.array_equal(first.samples, before[:, 0])
    assert np.array_equal(second.samples, after[:, 0])
    assert second.broken
    assert line.ring.stats().gaps == 2  # the loss, and the end


def test_attempts_come_less_and_less_often_up_to_five_seconds() -> None:
    line = Line()
    assert line.fail(REFUSED, 7) == pytest.approx([0.5, 1.0, 2.0, 4.0, 5.0, 5.0], abs=0.11)


def test_a_connection_without_data_or_with_a_little_does_not_reset_the_back_off() -> None:
    line = Line()
    line.fail(REFUSED, 6)
    for seconds in (0.0, 10.0):
        line.wait(5.1)
        line.open().send(seconds)
        assert line.pause_after(ENDED) == pytest.approx(5.0, abs=0.11)
        line.put(REFUSED)


def test_half_a_minute_of_audio_resets_the_back_off() -> None:
    line = Line()
    line.fail(REFUSED, 6)
    line.wait(5.1)
    line.open().send(31.0)
    assert line.pause_after(ENDED) == pytest.approx(0.5, abs=0.11)


def test_a_wrong_password_is_named_and_tried_again_slowly() -> None:
    line = Line()
    assert line.fail(UNAUTHORIZED, 3) == pytest.approx([30.0, 30.0], abs=0.11)
    assert line.detail == (
        "rtsp://cam/yard refuses the user or the password (401); write user@; it is tried again every 30 s."
    )


def test_a_path_that_is_gone_after_a_restart_is_tried_again_as_often_as_a_server() -> None:
    line = Line().open()
    line.send(31.0)
    line.put(ENDED)
    gone = Lost("does not exist at its server (404); check the path", permanent=True)
    assert max(line.fail(gone, 5)[1:]) < 5.2


def test_an_attempt_that_hangs_is_given_up_and_no_more_than_three_hang() -> None:
    line = Line()
    line.source.step()
    line.attempts[-1].hangs = True
    line.wait(6.5)
    assert line.state == "source lost"
    assert "did not answer within 5 s" in line.detail
    for _ in range(300):
        line.wait(0.1)
        line.attempts[-1].hangs = True
    assert len(line.attempts) == 3
    line.attempts[0].hangs = False
    line.wait(6.0)
    assert len(line.attempts) == 4


def test_a_silent_connection_that_is_kept_resumes_after_a_gap() -> None:
    line = Line().open()
    line.send(1.0)
    line.wait(3.9)
    assert line.state == "live"
    line.wait(0.3)
    assert line.state == "source lost"
    assert not line.attempts[0].cancelled
    line.send(1.0)
    assert line.state == "live"
    assert [chunk.broken for chunk in line.read()] == [False, True]


def test_audio_lost_inside_a_connection_is_a_gap_and_counted() -> None:
    line = Line().open()
    line.send(1.0)
    line.send(1.0, broken=True)
    assert [chunk.broken for chunk in line.read()] == [False, True]
    assert line.source.status().overflow_events == 1


def test_another_sample_rate_begins_a_run_of_its_own() -> None:
    line = Line().open()
    line.send(1.0)
    line.send(1.0, rate_hz=48_000.0, channels=2)
    assert [chunk.broken for chunk in line.read()] == [False, True]
    assert line.source.status().native_rate_hz == 48_000.0


def test_a_backlog_is_jumped_over_counted_and_said() -> None:
    line = Line().open()
    line.send(20.0, pace=20.0)
    line.send(2.0)
    line.source.step()
    status = line.source.status()
    assert status.state == "live"
    assert status.overflow_events == 1
    assert "rtsp://cam/yard sent 15." in status.detail
    assert "faster than real time, and they were jumped over" in status.detail
    assert [chunk.broken for chunk in line.read()] == [False, True]
    kept_s = line.ring.stats().written / SAMPLE_RATE
    jumped_s = float(status.detail.split(" sent ")[1].split()[0])
    line.source.stop()
    assert kept_s + jumped_s == pytest.approx(22.0, abs=0.1)  # every sample is one or the other


def test_the_backlog_that_is_kept_fits_into_a_short_ring() -> None:
    line = Line(ring_s=2.0).open()
    line.send(20.0, pace=20.0)
    assert line.ring.stats().overwritten == 0


def test_a_recording_that_was_received_whole_is_over() -> None:
    line = Line().open(length_s=0.1, on_demand=True)
    line.send(0.1)
    line.put(ENDED)
    assert line.state == "ended"


def test_a_recording_that_breaks_off_is_lost() -> None:
    line = Line().open(length_s=10.0, on_demand=True)
    line.send(0.1)
    line.put(ENDED)
    assert line.state == "source lost"


def test_mute_closes_the_connection_and_unmute_opens_a_new_one() -> None:
    line = Line().open()
    line.send(1.0)
    line.source.mute(True)
    line.source.step()
    assert line.state == "muted"
    assert line.attempts[0].cancelled
    line.wait(10.0)
    assert len(line.attempts) == 1
    line.source.mute(False)
    line.source.step()
    assert (line.state, len(line.attempts)) == ("starting", 2)
    line.open().send(1.0)
    assert [chunk.broken for chunk in line.read()] == [False, True]


def test_after_the_machine_slept_the_connection_is_opened_anew() -> None:
    line = Line().open()
    line.send(1.0)
    line.clock.epoch += 30.0
    line.source.step()
    line.source.step()
    assert line.attempts[0].cancelled
    assert len(line.attempts) == 2


def test_a_channel_that_does_not_exist_fails_in_a_sentence() -> None:
    line = Line(channel=1).open()
    with pytest.raises(UsageError, match="Channel 1 of rtsp://cam/yard does not exist"):
        line.send(0.02)
    line = Line(channel=1).open()
    sent = line.send(1.0, channels=2)
    (chunk,) = line.read()
    assert np.array_equal(chunk.samples, sent[: len(chunk.samples), 1])


def test_stopping_ends_the_ring_and_may_come_first_and_twice() -> None:
    line = Line()
    line.source.stop()
    line.source.stop()
    assert line.ring.stats().ended
