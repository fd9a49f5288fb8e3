"""The `Source` protocol: it fills one ring with 24 kHz mono audio from a thread of its own.

This module is light: it imports neither numpy nor an audio library.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from streamer.errors import UsageError

if TYPE_CHECKING:  # these load numpy, soxr and libsndfile
    from streamer.audio.ring import RingBuffer

# "no device": a microphone that was never there; "lost": one that went away; "source lost": a pipe or a network source
# that delivers nothing; "stalled": this process was stopped or the machine slept, and the source is opened anew.
SourceState = Literal[
    "starting", "live", "no signal", "no device", "lost", "source lost", "stalled", "muted", "ended", "failed"
]  # fmt: skip
STALLED = "This program was stopped, or the machine slept: the audio of that time is missing."
Encoding = Literal["s16le", "f32le"]


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """The state of a source at one moment."""

    state: SourceState
    detail: str  # one sentence with the cure where something is wrong; empty when all is well
    device: str  # the device's or file's name as users know it
    native_rate_hz: float  # the rate the device or the file has by itself; 0 before that is known
    effective_rate_hz: float | None  # native samples a second of wall time, measured; None for files and pipes
    overflow_events: int  # times that PortAudio reported audio lost before the callback


class Source(Protocol):
    """A microphone, a file or a pipe: the one writer of one ring."""

    name: str  # the stream's name, reduced to [a-z0-9_-]
    ring: "RingBuffer"
    realtime: bool  # False with --fast: the source waits for room in the ring and nothing is overwritten

    def start(self) -> None:
        """Begin to fill the ring; return at once. Raises StreamerError where it can never work (no such file)."""
        ...

    def status(self) -> SourceStatus:
        """Return the state now; never blocks."""
        ...

    def mute(self, muted: bool) -> None:
        """Release the device (or pause the file) while muted; resume afterwards, with a gap in the ring.

        Returns at once. What a live pipe delivers while muted is dropped, so that no stale audio follows.
        """
        ...

    def stop(self) -> None:
        """Release everything, end the thread and end the ring. Safe to call twice, and before `start`."""
        ...


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """Sample format of raw PCM."""

    encoding: Encoding = "s16le"
    rate_hz: int = 16_000
    channels: int = 1

    def __post_init__(self) -> None:
        if self.rate_hz <= 0 or self.channels <= 0:
            raise UsageError(
                f"Raw PCM cannot have {self.channels} channels at {self.rate_hz} Hz: both must be above zero."
            )
