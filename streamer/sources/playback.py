"""A file or a pipe as a source: one thread that reads it, paces it, and writes it to the ring."""

import logging
import threading
from typing import Literal, Protocol

from streamer.arrays import Samples
from streamer.audio.clock import SYSTEM, Clock, WallClock
from streamer.audio.downmix import Downmix
from streamer.audio.resample import Block, check_channel
from streamer.audio.ring import RingBuffer
from streamer.audio.ring_writer import RingWriter
from streamer.errors import StreamerError, UsageError
from streamer.sources.source import SourceState, SourceStatus

Pace = Literal["real time", "as delivered", "unpaced"]

REALTIME_BLOCK_S = 0.02  # the block length of a microphone
FAST_BLOCK_S = 0.5
TICK_S = 0.1  # the longest delay of `stop` and `mute`
STALL_S = 1.0  # a pipe is lost when the audio that it delivered has been over for so long
AHEAD_S = 0.5  # the most that a pipe's audio counts as being ahead, so that a stall after a burst shows within 1.5 s

logger = logging.getLogger(__name__)


class BlockReader(Protocol):
    """Reads audio block by block."""

    @property
    def device(self) -> str:
        """The name shown to users; that of the demo changes with what is heard."""
        ...

    @property
    def rate_hz(self) -> float:
        """Frames a second; known once it is open."""
        ...

    @property
    def channels(self) -> int:
        """The number of channels; 0: known with the first block."""
        ...

    @property
    def arrived_s(self) -> float:
        """Monotonic moment at which data came last, decoded or not; for a pipe."""
        ...

    @property
    def notice(self) -> str:
        """One sentence about what was repaired so far; empty when nothing was."""
        ...

    @property
    def problem(self) -> str:
        """One sentence about what is wrong with it, known at its end; empty when all is well."""
        ...

    def open(self) -> None:
        """Open it, and set `rate_hz` and `channels`. Raises StreamerError where it cannot be read."""
        ...

    def read(self, frames: int) -> Block | None:
        """Return at most `frames` frames ([n, channels]), n = 0 after 0.1 s without any; None at the end."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


class Playback:
    """Implements `Source` for a `BlockReader`.

    `pace`: "real time" plays a file as if it were captured now; "as delivered" reads a pipe as another program writes
    it; "unpaced" (--fast) waits for room in the ring, so nothing is lost. While muted, a file and --fast pause; a live
    pipe is read on and its audio is dropped, so that no stale audio follows.

    A live pipe that stays open and delivers nothing for `STALL_S` is lost, as a microphone is that went away: the run
    ends there, and what comes later is written behind a gap.
    """

    def __init__(
        self,
        name: str,
        reader: BlockReader,
        ring: RingBuffer,
        pace: Pace,
        channel: int | None = None,
        *,
        notice: str = "",
        clock: Clock = SYSTEM,
    ) -> None:
        self.name = name
        self.ring = ring
        self.realtime = pace != "unpaced"
        self._reader = reader
        self._pace = pace
        self._channel = channel
        self._downmix = Downmix(channel)
        self._notice = notice  # why this plays instead of what was requested
        self._clock = clock
        self._wall = WallClock(clock)
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._muting = threading.Event()
        self._state: tuple[SourceState, str] = ("starting", notice)
        self._writer: RingWriter | None = None  # of the current run; a mute ends a run
        self._due_s = 0.0  # monotonic moment at which the last frame that was read has been played

    def start(self) -> None:
        """Open the file or pipe and begin to read.

        Raises:
            StreamerError: it cannot be read, or lacks the channel.
        """
        self._reader.open()
        try:
            self._check_channel()
        except UsageError:
            self._reader.close()
            raise
        self._due_s = self._clock.monotonic() + AHEAD_S  # for a pipe's first audio
        self._thread = threading.Thread(target=self._run, name=f"playback {self.name}", daemon=True)
        self._thread.start()

    def status(self) -> SourceStatus:
        """Return the state now."""
        state, detail = self._state
        return SourceStatus(
            state=state, detail=detail, device=self._reader.device, native_rate_hz=self._reader.rate_hz,
            effective_rate_hz=None, overflow_events=0,
        )  # fmt: skip

    def mute(self, muted: bool) -> None:
        """Pause or resume, within a tenth of a second."""
        if muted:
            self._muting.set()
        else:
            self._muting.clear()

    def stop(self) -> None:
        """End the thread, close the file or pipe, end the ring."""
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
            problem = self._reader.problem
            self._state = ("failed", problem) if problem else ("ended", self._detail())
        except StreamerError as error:
            self._state = ("failed", str(error))
        except Exception as error:  # a defect must show on the screen, not end the thread silently
            logger.exception("playing %s failed", self._reader.device)
            self._state = (
                "failed",
                f"{self._reader.device!r} stopped on an internal error: {error!r}; start it again.",
            )
        finally:
            self._reader.close()
            self.ring.end()

    def _play(self) -> None:
        block_s = REALTIME_BLOCK_S if self.realtime else FAST_BLOCK_S
        frames = max(1, round(self._reader.rate_hz * block_s))
        while not self._stopping.is_set():
            muted = self._muting.is_set()
            if muted != (self._state[0] == "muted"):
                self._set_muted(muted)
            if muted and self._pace != "as delivered":
                self._stopping.wait(TICK_S)
                continue
            block = self._reader.read(frames)
            if block is None:
                return
            if muted:
                continue
            if len(block):
                self._write_block(block)
            elif self._pace == "as delivered" and self._is_stalled():
                self._lose()

    def _set_muted(self, muted: bool) -> None:
        if muted:
            self._end_run()
            self.ring.mark_gap(muted=True)
            self._state = ("muted", "It is paused until it is unmuted.")
        else:
            self._due_s = self._clock.monotonic()
            self._state = ("live", self._detail())

    def _is_stalled(self) -> bool:
        return self._clock.monotonic() > max(self._due_s, self._reader.arrived_s) + STALL_S

    def _lose(self) -> None:
        """End the run, since the pipe delivers nothing."""
        if self._state[0] != "source lost":
            self._end_run()
            self.ring.mark_gap()
            name = self._reader.device
            self._state = (
                "source lost",
                f"{name[:1].upper()}{name[1:]} is open and delivers nothing; check the program that writes it.",
            )

    def _check_channel(self) -> None:
        if self._reader.channels:
            check_channel(self._channel, self._reader.channels, self._reader.device)

    def _write_block(self, block: Block) -> None:
        writer = self._writer or self._begin_run()
        self._wall.follow()
        mono = self._downmix.process(block)
        if self._pace == "unpaced":
            writer.write_waiting(mono, self._stopping)
        elif self._pace == "real time":
            self._due_s += len(mono) / self._reader.rate_hz
            self._stopping.wait(max(0.0, self._due_s - self._clock.monotonic()))
            writer.write(mono, self._wall.epoch_s(self._due_s))
        else:
            self._write_delivered(writer, mono)
        self._state = ("live", self._detail())

    def _write_delivered(self, writer: RingWriter, mono: Samples) -> None:
        now = self._clock.monotonic()
        played_s = max(self._due_s, now) + len(mono) / self._reader.rate_hz
        self._due_s = min(played_s, now + AHEAD_S)
        writer.write(mono, self._wall.epoch_s(now))

    def _begin_run(self) -> RingWriter:
        self._check_channel()
        self._due_s = self._clock.monotonic()
        self._writer = RingWriter(self.ring, self._reader.rate_hz)
        return self._writer

    def _end_run(self) -> None:
        """Write what the resampler held back, and end the run."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if self.realtime:
            writer.flush()
        else:
            writer.flush_waiting(self._stopping)

    def _detail(self) -> str:
        return self._reader.notice or self._downmix.notice or self._notice
