"""What the user names, opened as a source."""

import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from streamer.constants import SAMPLE_RATE
from streamer.errors import UsageError
from streamer.names import slugify

if TYPE_CHECKING:  # these load numpy, soxr and libsndfile
    from streamer.audio.portaudio import PortAudio
from typing import TYPE_CHECKING

from streamer.audio.source import PcmFormat, Source
from streamer.errors import StreamerError

if TYPE_CHECKING:  # these load numpy, soxr and libsndfile
    from streamer.audio.portaudio import PortAudio

SourceKind = Literal["auto", "mic", "pipe", "demo", "recording"]


DEMO = Path(__file__).with_name("synthetic-speech.ogg")  # `synthetic.py` tells how it was made


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

        own_name = slugify(name or "mic")
        return Microphone(own_name, spec.target or None, ring, channel, block_ms, portaudio=portaudio)
    if spec.kind == "pipe":
        from streamer.audio.pipe import Pipe

        pipe = Pipe(stdin or sys.stdin.buffer, pcm or PcmFormat())
        return Playback(slugify(name or "stdin"), pipe, ring, "as it is read" if fast else "as it comes", channel)

    from streamer.audio.recording import Recording

    pace: Pace = "as it is read" if fast else "real time"
    if spec.kind == "recording":
        return Playback(slugify(name or Path(spec.target).stem), Recording(spec.target), ring, pace, channel)
    demo = Recording(DEMO, loop=loop)
    return Playback(slugify(name or "demo"), demo, ring, pace, notice=notice)


def _why_no_microphone(portaudio: "PortAudio | None") -> str:
    """Why the bundled recording plays instead of a microphone, with the cure; empty where there is a microphone."""
    from streamer.audio.devices import find_device, list_devices

    try:
        find_device(None, list_devices(portaudio))
    except StreamerError as error:
        reason = str(error)
        return f"The bundled synthetic speech plays, because {reason[0].lower()}{reason[1:]}"
    return ""
