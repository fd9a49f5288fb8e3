"""The edge where sound enters: a source fills one ring with 24 kHz mono audio from a thread of its own.

This module is light: what a source is made of is imported when one is opened.
"""

import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

from streamer.errors import StreamerError, UsageError
from streamer.names import reduce_name
from streamer.rates import SAMPLE_RATE

if TYPE_CHECKING:  # these load numpy, soxr and libsndfile
    from streamer.audio.portaudio import PortAudio
    from streamer.audio.ring import RingBuffer

SourceState = Literal["starting", "live", "no signal", "lost", "muted", "ended", "failed"]
SourceKind = Literal["auto", "mic", "pipe", "demo", "recording"]
Encoding = Literal["s16le", "f32le"]

DEMO = Path(__file__).with_name("synthetic-speech.ogg")  # `synthetic.py` tells how it was made


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How the source is doing."""

    state: SourceState
    detail: str  # one sentence with the cure where something is wrong; empty when all is well
    device: str  # the device's or file's name as a person knows it
    native_rate_hz: float  # the rate the device or the file has by itself; 0 before that is known
    effective_rate_hz: float | None  # native samples a second of wall time, measured; None for files and pipes
    overflow_events: int  # PortAudio said that it lost audio before we saw it


class Source(Protocol):
    """A microphone, a file, a pipe. One writer of one ring."""

    name: str  # the stream's name, reduced to [a-z0-9_-]
    ring: "RingBuffer"
    live: bool  # False with --fast: the source waits for room in the ring and nothing is overwritten

    def start(self) -> None:
        """Begin filling the ring; returns at once. Raises StreamerError where it cannot ever work (no such file)."""
        ...

    def status(self) -> SourceStatus:
        """How it is doing now; never blocks."""
        ...

    def mute(self, muted: bool) -> None:
        """Really release the device (or pause the file) while muted; go on afterwards, with a gap in the ring.

        Returns at once. What a live pipe delivers meanwhile is dropped, so that what follows is fresh.
        """
        ...

    def stop(self) -> None:
        """Release everything and end the thread and the ring. Safe to call twice, and before start."""
        ...


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """What the bytes of raw PCM mean."""

    encoding: Encoding = "s16le"
    rate_hz: int = 16_000
    channels: int = 1

    def __post_init__(self) -> None:
        if self.rate_hz <= 0 or self.channels <= 0:
            raise UsageError(
                f"Raw PCM cannot have {self.channels} channels at {self.rate_hz} Hz: both must be above zero."
            )


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """What a person asked to listen to."""

    kind: SourceKind
    target: str = ""  # the microphone's name or index, or the file's path; empty: the default, or none needed


def parse_source(text: str) -> SourceSpec:
    """`auto`, `mic`, `mic:NAME-OR-INDEX`, `-` (standard input), `demo`, or else the path of a file.

    Raises:
        UsageError: nothing is named.
    """
    words: dict[str, SourceKind] = {"auto": "auto", "mic": "mic", "-": "pipe", "demo": "demo"}
    text = text.strip()
    head, colon, device = text.partition(":")
    if text in words:
        return SourceSpec(words[text])
    if head == "mic" and colon and device.strip():
        return SourceSpec("mic", device.strip())
    if not text or head == "mic":
        raise UsageError(f"{text!r} names no source; write auto, mic, mic:NAME-OR-INDEX, -, demo or a file's path.")
    return SourceSpec("recording", text)


def open_source(
    spec: SourceSpec,
    *,
    name: str | None = None,
    ring_s: float = 30.0,
    on_write: threading.Event | None = None,
    fast: bool = False,
    loop: bool = False,
    pcm: PcmFormat | None = None,
    channel: int | None = None,
    block_ms: float = 20.0,
    stdin: BinaryIO | None = None,
    portaudio: "PortAudio | None" = None,
) -> Source:
    """The source that `spec` means, with a ring of `ring_s` seconds, not started yet.

    `auto` is a microphone if there is one, else the bundled recording, whose status then says why. `loop` lets the
    bundled recording begin again at its end; a file of the user's own plays once.

    Raises:
        UsageError: `fast` with a microphone, which cannot be heard faster than it speaks.
    """
    from streamer.audio.playback import Pace, Playback
    from streamer.audio.ring import RingBuffer

    if fast and spec.kind in ("auto", "mic"):
        raise UsageError("--fast reads recordings and pipes, not a microphone: name a file, `-` or `demo`.")
    ring = RingBuffer(round(ring_s * SAMPLE_RATE), on_write)
    notice = _why_no_microphone(portaudio) if spec.kind == "auto" else ""
    if spec.kind == "mic" or (spec.kind == "auto" and not notice):
        from streamer.audio.microphone import Microphone

        own_name = reduce_name(name or "mic")
        return Microphone(own_name, spec.target or None, ring, channel, block_ms, portaudio=portaudio)
    if spec.kind == "pipe":
        from streamer.audio.pipe import Pipe

        pipe = Pipe(stdin or sys.stdin.buffer, pcm or PcmFormat())
        return Playback(reduce_name(name or "stdin"), pipe, ring, "as it is read" if fast else "as it comes", channel)

    from streamer.audio.recording import Recording

    pace: Pace = "as it is read" if fast else "real time"
    if spec.kind == "recording":
        return Playback(reduce_name(name or Path(spec.target).stem), Recording(spec.target), ring, pace, channel)
    demo = Recording(DEMO, loop=loop)
    return Playback(reduce_name(name or "demo"), demo, ring, pace, notice=notice)


def _why_no_microphone(portaudio: "PortAudio | None") -> str:
    """Why the bundled recording plays instead of a microphone, with the cure; empty where there is a microphone."""
    from streamer.audio.devices import find_device, list_devices

    try:
        find_device(None, list_devices(portaudio))
    except StreamerError as error:
        reason = str(error)
        return f"The bundled synthetic speech plays, because {reason[0].lower()}{reason[1:]}"
    return ""
