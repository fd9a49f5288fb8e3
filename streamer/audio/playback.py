"""A file or a pipe as a source: one thread that reads, keeps time, and fills the ring."""

import logging
import threading
from typing import Literal, Protocol

from streamer.audio.clock import SYSTEM, Clock, WallClock
from streamer.audio.resample import Block, check_channel, to_mono
from streamer.audio.ring import RingBuffer
from streamer.audio.ring_writer import RingWriter
from streamer.audio.source import SourceState, SourceStatus
from streamer.errors import UsageError

Pace = Literal["real time", "as it comes", "as it is read"]

LIVE_BLOCK_S = 0.02  # as a microphone delivers
FAST_BLOCK_S = 0.5
TICK_S = 0.1  # the longest wait before `stop` and `mute` are looked at

log = logging.getLogger(__name__)


class Input(Protocol):
    """Audio that comes block by block."""

    device: str  # what it is called
    rate_hz: float
    channels: int
    problem: str  # one sentence about what was wrong with it, known at its end; empty when all was well

    def open(self) -> None:
        """Make ready, and set `rate_hz` and `channels`. Raises StreamerError where that cannot be."""
        ...

    def read(self, frames: int) -> Block | None:
        """At most `frames` frames ([n, channels]), none where it waited for 0.1 s in vain; None at the end."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


class Playback:
    """Implements `Source` for an `Input`.

    `pace`: "real time" plays a file as if it were heard now; "as it comes" takes what a pipe delivers when it does; "as
    it is read" (--fast) waits for room in the ring, so nothing is lost and time is file time since the start.
    Muted, a file and --fast pause; a live pipe goes on and what it brings is dropped, so that what follows is fresh.
    """

    def __init__(
        self,
        name: str,
        source: Input,
        ring: RingBuffer,
        pace: Pace,
        channel: int | None = None,
        *,
        notice: str = "",
        clock: Clock = SYSTEM,
    ) -> None:
        self.name = name
        self.ring = ring
        self.realtime = pace != "as it is read"
        self._input = source
        self._pace = pace
        self._channel = channel
        self._notice = notice  # why this plays, where something else was asked for
        self._clock = clock
        self._wall = WallClock(clock)
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._muting = threading.Event()
        self._state: tuple[SourceState, str] = ("starting", notice)
        self._writer: RingWriter | None = None  # of the present run between mutes
        self._replaced = 0  # samples of the runs before that were no finite numbers
        self._due_s = 0.0  # monotonic moment at which the last frame that was read is heard

    def start(self) -> None:
        """Open the input and begin.

        Raises:
            StreamerError: it cannot be read, or has no such channel.
        """
        self._input.open()
        try:
            check_channel(self._channel, self._input.channels, self._input.device)
        except UsageError:
            self._input.close()
            raise
        self._thread = threading.Thread(target=self._run, name=f"playback {self.name}", daemon=True)
        self._thread.start()

    def status(self) -> SourceStatus:
        """How it is doing now."""
        state, detail = self._state
        return SourceStatus(
            state=state, detail=detail, device=self._input.device, native_rate_hz=self._input.rate_hz,
            effective_rate_hz=None, overflow_events=0,
        )  # fmt: skip

    def mute(self, muted: bool) -> None:
        """Pause, or go on; seen within a tenth of a second."""
        if muted:
            self._muting.set()
        else:
            self._muting.clear()

    def stop(self) -> None:
        """End the thread, close the input, end the ring."""
        self._stopping.set()
        if self._thread is None:
            self._state = ("ended", "")
            self.ring.end()
        else:
            self._thread.join(timeout=1.0)  # a read may wait for ever on a pipe on Windows: the thread is a daemon

    def _run(self) -> None:
        try:
            self._play()
            self._end_run()
            problem = self._input.problem
            self._state = ("failed", problem) if problem else ("ended", self._remark())
        except Exception as error:  # a defect must show on the screen, not end the thread without a word
            log.exception("playing %s failed", self._input.device)
            self._state = ("failed", f"{self._input.device!r} stopped on an internal error: {error!r}; start it anew.")
        finally:
            self._input.close()
            self.ring.end()

    def _play(self) -> None:
        block_s = LIVE_BLOCK_S if self.realtime else FAST_BLOCK_S
        frames = max(1, round(self._input.rate_hz * block_s))
        while not self._stopping.is_set():
            muted = self._muting.is_set()
            if muted != (self._state[0] == "muted"):
                self._change(muted)
            if muted and self._pace != "as it comes":
                self._stopping.wait(TICK_S)
                continue
            block = self._input.read(frames)
            if block is None:
                return
            if len(block) and not muted:
                self._pass_on(block)

    def _change(self, muted: bool) -> None:
        if muted:
            self._end_run()
            self.ring.mark_gap()
            self._state = ("muted", "It is paused until it is unmuted.")
        else:
            self._state = ("live", self._remark())

    def _pass_on(self, block: Block) -> None:
        writer = self._writer or self._begin_run()
        self._wall.follow()
        mono = to_mono(block, self._channel)
        if self._pace == "as it is read":
            writer.write_waiting(mono, self._stopping)
        elif self._pace == "real time":
            self._due_s += len(mono) / self._input.rate_hz
            self._stopping.wait(max(0.0, self._due_s - self._clock.monotonic()))
            writer.write(mono, self._wall.epoch_s(self._due_s))
        else:
            writer.write(mono, self._wall.epoch_s(self._clock.monotonic()))
        self._state = ("live", self._remark())

    def _begin_run(self) -> RingWriter:
        self._due_s = self._clock.monotonic()
        self._writer = RingWriter(self.ring, self._input.rate_hz)
        if not self.realtime:
            self._writer.set_time(self._wall.epoch_s(self._due_s))
        return self._writer

    def _end_run(self) -> None:
        """Pass on what is still inside."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if self.realtime:
            writer.finish()
        else:
            writer.finish_waiting(self._stopping)
        self._replaced += writer.non_finite

    def _remark(self) -> str:
        replaced = self._replaced + (self._writer.non_finite if self._writer else 0)
        if replaced:
            return f"{replaced} samples that were no finite numbers were replaced by 0; check --format."
        return self._notice
