"""Parse the name of a source and open it.

This module is light: what a source is made of is imported when one is opened.
"""

import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from streamer.audio.source import PcmFormat, Source
from streamer.constants import SAMPLE_RATE
from streamer.errors import StreamerError, UsageError
from streamer.names import slugify

if TYPE_CHECKING:  # these load numpy, soxr and libsndfile
    from streamer.audio.microphone import Microphone
    from streamer.audio.playback import Pace, Playback
    from streamer.audio.portaudio import PortAudio
    from streamer.audio.ring import RingBuffer

SourceKind = Literal["auto", "mic", "pipe", "demo", "recording"]

DEMO = Path(__file__).with_name("synthetic-speech.ogg")  # made by tests/audio/synthetic_speech.py


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A parsed source: its kind, and which one of that kind."""

    kind: SourceKind
    target: str = ""  # the microphone's name or index, or the file's path; empty: the default, or none needed

    def require_file(self, where: str = "") -> None:
        """Raise UsageError if this names a recording that is not there: early, before the model is loaded."""
        if self.kind == "recording" and not Path(self.target).is_file():
            raise UsageError(f"{where}there is no file {self.target!r}; name an audio file, mic or demo.")


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a source is opened; each kind ignores the fields that do not concern it."""

    ring_s: float = 30.0  # length of the ring
    fast: bool = False  # read recordings and pipes as fast as the ring is emptied, instead of in real time
    loop: bool = False  # repeat the bundled recording; a file of the user's own plays once
    pcm: PcmFormat | None = None  # of a pipe; None: the defaults of `PcmFormat`
    channel: int | None = None  # counted from 0; None: the mean of all
    block_ms: float = 20.0  # of a microphone's callback


def parse_source(text: str) -> SourceSpec:
    """Parse `auto`, `mic`, `mic:NAME-OR-INDEX`, `-` (standard input), `demo`, or else the path of a file.

    Raises:
        UsageError: `text` names no source.
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
    options: SourceOptions | None = None,
    *,
    name: str | None = None,
    on_write: threading.Event | None = None,
    stdin: BinaryIO | None = None,
    portaudio: "PortAudio | None" = None,
) -> Source:
    """Return the source that `spec` describes, with a ring of its own, not started yet.

    `auto` is a microphone if there is one, else the bundled recording, whose status then says why.

    Args:
        spec: from `parse_source`.
        options: the defaults where None.
        name: of the stream; None: `mic`, the file's stem, `stdin` or `demo`.
        on_write: an event that the ring sets at each write.
        stdin: what a pipe reads instead of standard input.
        portaudio: instead of the process's own.

    Raises:
        UsageError: `fast` with a microphone, which delivers audio in real time only.
    """
    from streamer.audio.ring import RingBuffer

    options = options or SourceOptions()
    if options.fast and spec.kind in ("auto", "mic"):
        raise UsageError("--fast reads recordings and pipes, not a microphone: name a file, `-` or `demo`.")
    ring = RingBuffer(round(options.ring_s * SAMPLE_RATE), on_write)
    notice = _why_no_microphone(portaudio) if spec.kind == "auto" else ""
    if spec.kind == "mic" or (spec.kind == "auto" and not notice):
        return _open_microphone(spec, options, slugify(name or "mic"), ring, portaudio)
    if spec.kind == "pipe":
        return _open_pipe(options, slugify(name or "stdin"), ring, stdin)
    return _open_recording(spec, options, name, ring, notice)


def _open_microphone(
    spec: SourceSpec, options: SourceOptions, name: str, ring: "RingBuffer", portaudio: "PortAudio | None"
) -> "Microphone":
    from streamer.audio.microphone import Microphone

    return Microphone(name, spec.target or None, ring, options.channel, options.block_ms, portaudio=portaudio)


def _open_pipe(options: SourceOptions, name: str, ring: "RingBuffer", stdin: BinaryIO | None) -> "Playback":
    from streamer.audio.pipe import Pipe
    from streamer.audio.playback import Playback

    pipe = Pipe(stdin or sys.stdin.buffer, options.pcm or PcmFormat())
    return Playback(name, pipe, ring, "unpaced" if options.fast else "as delivered", options.channel)


def _open_recording(
    spec: SourceSpec, options: SourceOptions, name: str | None, ring: "RingBuffer", notice: str
) -> "Playback":
    from streamer.audio.playback import Playback
    from streamer.audio.recording import Recording

    pace: Pace = "unpaced" if options.fast else "real time"
    if spec.kind == "recording":
        own_name = slugify(name or Path(spec.target).stem)
        return Playback(own_name, Recording(spec.target), ring, pace, options.channel)
    return Playback(slugify(name or "demo"), Recording(DEMO, loop=options.loop), ring, pace, notice=notice)


def _why_no_microphone(portaudio: "PortAudio | None") -> str:
    """Return why the bundled recording plays instead of a microphone, with the cure; empty where there is one."""
    from streamer.audio.devices import find_device, list_devices

    try:
        find_device(None, list_devices(portaudio))
    except StreamerError as error:
        reason = str(error)
        return f"The bundled synthetic speech plays, because {reason[0].lower()}{reason[1:]}"
    return ""
