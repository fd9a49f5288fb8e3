"""A network source: a supervisor thread that connects, watches, reconnects, and writes what comes to the ring."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty

from streamer.audio.clock import STEP_S, SYSTEM, BackOff, Clock, WallClock
from streamer.audio.ring import RingBuffer
from streamer.errors import UsageError
from streamer.sources.connection import OPEN_TIMEOUT_S, READ_TIMEOUT_S
from streamer.sources.network_writer import NetworkWriter
from streamer.sources.receiver import Arrived, Item, Lost, Opened, Reception
from streamer.sources.source import STALLED, SourceState, SourceStatus

TICK_S = 0.1  # the longest wait of the supervisor
SLACK_S = 1.0  # beyond a timeout of the connection, whose own sentence is better
SUSTAINED_S = 30.0  # of audio, before a connection counts as good and the back-off starts over
SLOW_S = 30.0  # between attempts where waiting does not help
FORGIVEN_S = 300.0  # after audio: a server that restarts answers 404 until its own source is back
LATE_S = 1.0  # a recording's clock waits for audio that comes so late
MOST_ABANDONED = 3  # attempts that hang where nothing can interrupt them; more are not begun
CLOSE_S = 0.5  # how long `stop` waits for the connection to be closed

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Attempt:
    """A connection, and the state that ends with it."""

    reception: Reception
    alive_s: float  # monotonic: when the newest frames arrived, or it was opened, or begun
    opened: Opened | None = None
    first_audio_s: float | None = None  # monotonic
    audio_s: float = 0.0  # seconds of audio
    due_s: float = 0.0  # of a source on demand: when the last frame is played (monotonic)
    silent: bool = False  # lost for want of audio, though the connection is kept


class NetworkSource:
    """Implements `Source` for a connection that is opened again for ever, as a microphone is.

    Everything that ends or stalls a connection is a loss, never the stream's end, but for a recording that was received
    to its full length. Live audio is written as it comes; audio on demand (a recording, HLS) is read at the pace of
    the clock. Attempts are 0.5 s to 5 s apart, and `SLOW_S` where waiting does not help.
    """

    realtime = True

    def __init__(
        self,
        name: str,
        device: str,
        connect: Callable[[], Reception],
        ring: RingBuffer,
        channel: int | None = None,
        *,
        clock: Clock = SYSTEM,
    ) -> None:
        self.name = name
        self.ring = ring
        self._device = device
        self._connect = connect
        self._clock = clock
        self._wall = WallClock(clock)
        self._writer = NetworkWriter(ring, channel, device, self._wall)
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._muting = threading.Event()
        self._wake = threading.Event()  # one of the two events above was set or cleared
        self._attempt: _Attempt | None = None
        self._abandoned: list[Reception] = []
        self._state: tuple[SourceState, str] = ("starting", "")
        self._live_s: float | None = None  # monotonic moment of the newest audio of any attempt
        self._retry = BackOff(0.5, 5.0)
        self._retry.reset(clock.monotonic(), wait=False)

    def start(self) -> None:
        """Connect in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name=f"network {self.name}", daemon=True)
        self._thread.start()

    def status(self) -> SourceStatus:
        """Return the state now."""
        attempt, (state, detail) = self._attempt, self._state
        live = attempt is not None and attempt.opened is not None and not attempt.opened.on_demand
        return SourceStatus(
            state=state, detail=detail, device=self._device, native_rate_hz=self._writer.native_rate_hz,
            effective_rate_hz=self._writer.rate.rate_hz() if live else None, overflow_events=self._writer.losses,
        )  # fmt: skip

    def mute(self, muted: bool) -> None:
        """Close the connection, or open it again, within a tenth of a second."""
        if muted:
            self._muting.set()
        else:
            self._muting.clear()
        self._wake.set()

    def stop(self) -> None:
        """Close the connection and end the ring; an attempt that hangs is left to its timeout."""
        self._stopping.set()
        self._wake.set()
        if self._thread is None:
            self._end(("ended", ""))
        else:
            self._thread.join(timeout=2.0)

    def step(self, wait_s: float = 0.0) -> None:
        """Run one turn of the supervisor; wait at most `wait_s` for audio or for a change."""
        now = self._clock.monotonic()
        if self._muting.is_set():
            if self._state[0] != "muted":
                self._close(("muted", "The connection is closed until the stream is unmuted."))
                self._retry.reset(now, wait=False)
            self._sleep(wait_s)
        elif self._attempt is not None:
            self._drain(self._attempt, wait_s)
            if self._attempt is not None:
                self._check_liveness(self._attempt)
        elif now >= self._retry.due_s:
            self._begin(now)
        else:
            self._sleep(min(wait_s, self._retry.due_s - now))

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.step(TICK_S)
            self._end(self._state if self._state[0] == "ended" else ("ended", ""))
        except UsageError as error:
            self._end(("failed", str(error)))
        except Exception as error:  # a defect must show on the screen, not end the thread silently
            logger.exception("the supervisor of %s failed", self._device)
            self._end(("failed", f"{self._device} stopped on an internal error: {error!r}; restart the program."))

    def _sleep(self, wait_s: float) -> None:
        self._wake.wait(wait_s)
        self._wake.clear()

    def _end(self, state: tuple[SourceState, str]) -> None:
        try:
            self._close(state)
            deadline = time.monotonic() + CLOSE_S
            while any(reception.alive() for reception in self._abandoned) and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            self.ring.end()

    def _begin(self, now: float) -> None:
        self._abandoned = [reception for reception in self._abandoned if reception.alive()]
        if len(self._abandoned) >= MOST_ABANDONED:
            self._retry.postpone(now)
            return
        if self._state[0] == "muted":
            self._state = ("starting", "")
        self._wall.follow()
        self._writer.begin()
        self._attempt = _Attempt(self._connect(), alive_s=now)

    def _close(self, state: tuple[SourceState, str]) -> None:
        """Leave the connection to be closed by its own thread, and announce a gap."""
        self._state = state
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.reception.cancel()
            self._abandoned.append(attempt.reception)
            self._writer.break_run(muted=state[0] == "muted")

    def _drain(self, attempt: _Attempt, wait_s: float) -> None:
        """Handle what has arrived; wait at most `wait_s` for the first."""
        items = attempt.reception.items
        try:
            item = items.get(timeout=wait_s) if wait_s else items.get_nowait()
            while self._handle(attempt, item) and not self._wake.is_set():
                item = items.get_nowait()
        except Empty:
            return

    def _handle(self, attempt: _Attempt, item: Item) -> bool:
        """Handle one item; return whether more may follow at once."""
        if isinstance(item, Lost):
            self._lose(attempt, item)
            return False
        if isinstance(item, Opened):
            attempt.opened, attempt.alive_s = item, self._clock.monotonic()
        elif len(item.received.frames):
            self._take(attempt, item)
        return attempt.opened is None or not attempt.opened.on_demand

    def _take(self, attempt: _Attempt, item: Arrived) -> None:
        """Write frames to the ring, in their time where they are on demand."""
        length_s = len(item.received.frames) / item.received.rate_hz
        attempt.audio_s += length_s
        if attempt.opened is not None and attempt.opened.on_demand:
            attempt.alive_s = self._play(attempt, length_s)
            self._writer.write_played(item.received, attempt.alive_s)
        else:
            attempt.alive_s = item.arrived_s
            self._writer.write_live(item.received, item.arrived_s)
        attempt.first_audio_s = attempt.alive_s if attempt.first_audio_s is None else attempt.first_audio_s
        attempt.silent = False
        self._live_s = attempt.alive_s
        self._state = ("live", self._writer.notice)

    def _play(self, attempt: _Attempt, length_s: float) -> float:
        """Wait until frames on demand have been played; return that moment (monotonic)."""
        now = self._clock.monotonic()
        if attempt.due_s < now - LATE_S:  # the first ones, or segments that came late
            attempt.due_s = now
        attempt.due_s += length_s
        self._wake.wait(max(0.0, attempt.due_s - now))
        return attempt.due_s

    def _lose(self, attempt: _Attempt, lost: Lost) -> None:
        """Close the connection after a loss, and set the time of the next attempt."""
        length_s = attempt.opened.length_s if attempt.opened else None
        if lost.at_end and length_s is not None and attempt.audio_s >= length_s - LATE_S:
            self._close(("ended", self._writer.notice))
            self._stopping.set()
            return
        now = self._clock.monotonic()
        sustained = attempt.first_audio_s is not None and attempt.alive_s - attempt.first_audio_s >= SUSTAINED_S
        if sustained:
            self._retry.reset(now, wait=True)
        else:
            self._retry.postpone(now)
        again = "it is opened again by itself"
        if lost.permanent and (self._live_s is None or now - self._live_s > FORGIVEN_S):
            self._retry.due_s = now + SLOW_S
            again = f"it is tried again every {SLOW_S:g} s"
        self._close(("source lost", f"{self._device} {lost.reason}; {again}."))

    def _check_liveness(self, attempt: _Attempt) -> None:
        """Notice a connection that hangs or is silent, and a machine that slept."""
        now = self._clock.monotonic()
        silent_s = now - attempt.alive_s
        if self._wall.follow() > STEP_S:  # the machine slept
            self._close(("stalled", STALLED))
            self._retry.reset(now, wait=False)
        elif attempt.opened is None and silent_s > OPEN_TIMEOUT_S + SLACK_S:
            self._lose(attempt, Lost(f"did not answer within {OPEN_TIMEOUT_S:g} s"))
        elif attempt.opened is not None and silent_s > READ_TIMEOUT_S + SLACK_S and not attempt.silent:
            attempt.silent = True  # its own timeout is longer (HLS), or it has none (UDP): audio may still come
            self._writer.break_run()
            self._state = (
                "source lost",
                f"{self._device} has sent nothing for {READ_TIMEOUT_S:g} s; it is captured as soon as it sends again.",
            )
