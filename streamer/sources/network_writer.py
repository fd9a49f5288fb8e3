"""Write the audio of one connection after another to a ring: in unbroken runs, and only what is the present."""

import numpy as np

from streamer.audio.clock import CaptureClock, RateMeter, WallClock
from streamer.audio.downmix import Downmix
from streamer.audio.resample import check_channel
from streamer.audio.ring import RingBuffer
from streamer.audio.ring_writer import RingWriter
from streamer.audio.sanitize import Sanitizer
from streamer.constants import SAMPLE_RATE
from streamer.sources.backlog import SPAN_S, Backlog
from streamer.sources.connection import Received

BACKLOG_S = 5.0  # audio may arrive ahead of real time by so much: Icecast sends 64 KB at once, 4 s at 128 kbit/s
SHOWN_EVERY_S = 60.0  # every new number of the notice is a line on standard error
RATE_AFTER_S = 1.0  # a server's burst comes within a second, and is no measure of its clock
RATE_SPAN_S = 60.0  # audio comes in packets of up to 0.2 s, so a short span would show their jitter as drift


class NetworkWriter:
    """Writes to one ring; `begin` starts every connection.

    Attributes:
        native_rate_hz: of the newest audio; 0 before any.
        rate: native frames a second of wall time, of the current connection.
        losses: times that audio was lost inside a connection.
    """

    def __init__(self, ring: RingBuffer, channel: int | None, device: str, wall: WallClock) -> None:
        self.native_rate_hz = 0.0
        self.rate = RateMeter(RATE_SPAN_S)
        self.losses = 0
        self._ring = ring
        self._channel = channel
        self._downmix = Downmix(channel)
        self._device = device
        self._wall = wall
        self._sanitizer = Sanitizer()
        self._jumped_s = 0.0
        self._shown_s = 0.0  # of those, what `notice` states
        self._show_again_s = 0.0  # monotonic: when it may state more
        # What the ring holds beside the hops that its reader waits for.
        self._most_ahead_s = min(BACKLOG_S, 0.75 * ring.capacity / SAMPLE_RATE)
        self._run: RingWriter | None = None  # the current unbroken run
        self.begin()

    def begin(self) -> None:
        """Begin a connection, whose audio may have any format."""
        self.break_run()
        self._first_s: float | None = None  # monotonic: when the connection's first audio arrived
        self._rate_hz = 0.0
        self._capture_clock = CaptureClock(float(SAMPLE_RATE), SPAN_S)
        self._backlog = Backlog(self._most_ahead_s)
        self.rate = RateMeter(RATE_SPAN_S)

    def write_live(self, received: Received, arrived_s: float) -> None:
        """Write frames that arrived at `arrived_s` (monotonic), or jump over those of a backlog.

        Raises:
            UsageError: they have no such channel.
        """
        self._follow_format(received)
        frames = len(received.frames)
        self._first_s = arrived_s if self._first_s is None else self._first_s
        if arrived_s - self._first_s >= RATE_AFTER_S:
            self.rate.add(frames, arrived_s)
        captured_s = self._capture_clock.captured_s(frames, arrived_s)
        length_s = frames / received.rate_hz
        if self._backlog.jumps_over(length_s, arrived_s):
            self._lose_inside()
            self._jumped_s += length_s
            self._shown_s = self._shown_s or self._jumped_s
            return
        if self._jumped_s != self._shown_s and arrived_s >= self._show_again_s:
            self._shown_s, self._show_again_s = self._jumped_s, arrived_s + SHOWN_EVERY_S
        self._write(received, captured_s)

    def write_played(self, received: Received, due_s: float) -> None:
        """Write frames on demand, the last of which is played at `due_s` (monotonic).

        Raises:
            UsageError: they have no such channel.
        """
        self._follow_format(received)
        self._write(received, due_s)

    def break_run(self, *, muted: bool = False) -> None:
        """End the unbroken run: what the resampler holds back is written, and a gap follows."""
        if self._run is not None:
            self._run.flush()
            self._run = None
        self._ring.mark_gap(muted=muted)

    @property
    def notice(self) -> str:
        """What was jumped over, repaired or left out of the mix, in a sentence each; empty where nothing was."""
        jumped = (
            f"{self._device} sent {self._shown_s:.1f} s of audio faster than real time, and they were jumped over; "
            f"have it send at the pace of the clock, with a shorter burst at the start."
        )
        parts = (jumped if self._shown_s else "", self._sanitizer.notice, self._downmix.notice)
        return " ".join(filter(None, parts))

    def _follow_format(self, received: Received) -> None:
        """Begin a run of its own where the sample rate is another one: the next track of an Ogg stream."""
        if received.rate_hz == self._rate_hz:
            return
        if self._run is not None:
            self.break_run()
        check_channel(self._channel, received.frames.shape[1], self._device)
        self._rate_hz = self.native_rate_hz = received.rate_hz
        self._capture_clock = CaptureClock(received.rate_hz, SPAN_S)
        self.rate = RateMeter(RATE_SPAN_S)

    def _write(self, received: Received, captured_s: float) -> None:
        if received.broken:
            self._lose_inside()
        if self._run is None:
            self._run = RingWriter(self._ring, received.rate_hz)
        block = received.frames
        if block.dtype == np.float32:
            block = self._sanitizer.repair(block.astype(np.float32, copy=False))
        self._run.write(self._downmix.process(block), self._wall.epoch_s(captured_s))

    def _lose_inside(self) -> None:
        """Count a loss, and end the run; a loss where none has begun is that of the connection."""
        if self._run is not None:
            self.losses += 1
            self.break_run()
