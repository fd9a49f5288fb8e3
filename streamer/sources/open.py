"""Parse the name of a source and open it.

This module is light: what a source is made of is imported when one is opened.
"""

import os
import shlex
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from streamer.constants import SAMPLE_RATE
from streamer.errors import StreamerError, UsageError
from streamer.extras import install_command
from streamer.loopback import is_loopback_name
from streamer.names import slugify
from streamer.secret_files import read_password
from streamer.sources.address import LISTEN, Address, is_address, parse_address
from streamer.sources.source import PcmFormat, Source

if TYPE_CHECKING:  # these load numpy, soxr and libsndfile
    from streamer.audio.ring import RingBuffer
    from streamer.sources.connection import Connection
    from streamer.sources.microphone import Microphone
    from streamer.sources.playback import Pace, Playback
    from streamer.sources.portaudio import PortAudio
    from streamer.sources.reconnect import NetworkSource

SourceKind = Literal["auto", "mic", "pipe", "demo", "recording", "network"]

PASSWORD_VARIABLE = "STREAMER_SOURCE_PASSWORD"
LEAST_TOKEN = 16  # characters


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A parsed source: its kind, and which one of that kind."""

    kind: SourceKind
    target: str = ""  # the microphone's name or index, the file's path, or a label of the URL without credentials
    address: Address | None = None  # of a network source


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a source is opened; each kind ignores the fields that do not concern it."""

    ring_s: float = 30.0  # length of the ring
    fast: bool = False  # read recordings and pipes as fast as the ring is emptied, instead of in real time
    loop: bool = False  # repeat the bundled recording; a file of the user's own plays once
    pcm: PcmFormat | None = None  # of a pipe; None: the defaults of `PcmFormat`
    channel: int | None = None  # counted from 0; None: the mean of all
    track: int = 0  # audio track of a recording that has several, counted from 0
    start_time: float | None = None  # when a recording's first sample was recorded, seconds since the epoch
    block_ms: float = 20.0  # of a microphone's callback
    password_file: str = ""  # holds the password for the user in a URL; empty: STREAMER_SOURCE_PASSWORD


def parse_source(text: str) -> SourceSpec:
    """Parse `auto`, `mic`, `mic:NAME-OR-INDEX`, `-` (standard input), `demo`, a URL, or else the path of a file.

    Raises:
        UsageError: `text` names no source, or a URL that cannot be opened.
    """
    words: dict[str, SourceKind] = {"auto": "auto", "mic": "mic", "-": "pipe", "demo": "demo"}
    text = text.strip()
    head, colon, device = text.partition(":")
    if text in words:
        return SourceSpec(words[text])
    if head == "mic" and colon and device.strip():
        return SourceSpec("mic", device.strip())
    if is_address(text):
        address = parse_address(text)
        return SourceSpec("network", address.label, address)
    if not text or head == "mic":
        raise UsageError(
            f"{text!r} names no source; write auto, mic, mic:NAME-OR-INDEX, -, demo, a URL or a file's path."
        )
    return SourceSpec("recording", text)


def check_recording(path: str) -> None:
    """Raise UsageError, with the cure, where `path` names no file, named pipe or /dev/fd/N.

    It is for a command line: the model is not loaded first to say so.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise UsageError(
            f"{path!r} is a folder, and a source is one recording at a time; for all of them: "
            f"{loop_over(shlex.quote(str(file)) + '/*')}"
        )
    if not file.exists():
        raise UsageError(f"there is no file {path!r}; name an audio file, mic, - or demo.")


def loop_over(files: str) -> str:
    """Return the shell line that monitors several recordings one by one."""
    return f'for file in {files}; do streamer run "$file" --headless --fast; done'


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
        name: of the stream; None: `mic`, the file's stem, `stdin`, `demo`, or the URL's host and path.
        on_write: an event that the ring sets at each write.
        stdin: what a pipe reads instead of standard input.
        portaudio: instead of the process's own.

    Raises:
        UsageError: `fast` with a microphone or a URL, which deliver audio in real time only; or the password of a
            URL cannot be read.
    """
    from streamer.audio.ring import RingBuffer

    options = options or SourceOptions()
    if options.fast and spec.kind in ("auto", "mic", "network"):
        what = "a URL" if spec.kind == "network" else "a microphone"
        raise UsageError(f"--fast reads recordings and pipes, not {what}: name a file, `-` or `demo`.")
    if options.start_time is not None and spec.kind in ("auto", "mic", "network"):
        raise UsageError(
            "--start-time is for recordings, and live sound is timed as it comes in: name a file, or leave it out."
        )
    ring = RingBuffer(round(options.ring_s * SAMPLE_RATE), on_write, options.start_time)
    notice = _why_no_microphone(portaudio) if spec.kind == "auto" else ""
    if spec.kind == "mic" or (spec.kind == "auto" and not notice):
        return _open_microphone(spec, options, slugify(name or "mic"), ring, portaudio)
    if spec.address is not None:
        return _open_network(spec.address, options, name, ring)
    if spec.kind == "pipe":
        return _open_pipe(options, slugify(name or "stdin"), ring, stdin)
    if spec.kind == "recording" and not Path(spec.target).expanduser().is_file() and Path(spec.target).exists():
        return _open_pipe(options, slugify(name or _pipe_name(spec.target)), ring, Path(spec.target))
    return _open_recording(spec, options, name, ring, notice)


def _open_microphone(
    spec: SourceSpec, options: SourceOptions, name: str, ring: "RingBuffer", portaudio: "PortAudio | None"
) -> "Microphone":
    from streamer.sources.microphone import Microphone

    return Microphone(name, spec.target or None, ring, options.channel, options.block_ms, portaudio=portaudio)


def _open_network(address: Address, options: SourceOptions, name: str | None, ring: "RingBuffer") -> "NetworkSource":
    from streamer.sources.receiver import Receiver
    from streamer.sources.reconnect import NetworkSource

    connect = _connector(address, options.password_file)
    return NetworkSource(
        slugify(name or address.name), address.label, lambda: Receiver(connect, address.label), ring, options.channel
    )


def open_once(address: Address, password_file: str = "") -> None:
    """Open `address` and close it again, to see whether it can be opened; blocks for some seconds at the most.

    Raises:
        StreamerError: it cannot, in one sentence.
    """
    from streamer.sources.connection import ConnectionLostError

    try:
        _connector(address, password_file)().close()
    except ConnectionLostError as error:
        raise StreamerError(f"{address.label} {error}.") from None


def _connector(address: Address, password_file: str) -> "Callable[[], Connection]":
    """Return what opens `address`, once a call, with its password."""
    if address.scheme == "sdp" and not Path(address.url).is_file():
        raise UsageError(f"There is no file {address.url!r}; name the session description (SDP) of an RTP stream.")
    if address.lacks_password:
        address = address.with_password(source_password(password_file))
    if address.scheme == LISTEN:
        return _listener(address, password_file)
    if address.pcm is not None:
        from streamer.sources.sockets import RawSocket

        return lambda: RawSocket(address)
    from streamer.sources.network import AvOpener

    return AvOpener(address)


def _listener(address: Address, password_file: str) -> "Callable[[], Connection]":
    """Return what listens for a browser's microphone; where others reach it, they need the password as a token."""
    if find_spec("aiohttp") is None:
        raise UsageError(f"{LISTEN}:// needs aiohttp, which is not installed; {install_command('web')}.")
    from streamer.sources.browser import BrowserMicrophone

    token = source_password(password_file)
    if not is_loopback_name(address.host) and len(token) < LEAST_TOKEN:
        raise UsageError(
            f"{address.label} is reached from the network: set {PASSWORD_VARIABLE} or source_password_file to a token "
            f"of {LEAST_TOKEN} characters or more, which senders then give as ?token=."
        )
    return lambda: BrowserMicrophone(address, token)


def source_password(file: str) -> str:
    """Return the first line of `file`; without a file, the variable STREAMER_SOURCE_PASSWORD, or nothing.

    Raises:
        UsageError: the file cannot be read, or holds nothing.
    """
    if not file:
        return os.environ.get(PASSWORD_VARIABLE, "")
    return read_password(file, "source_password_file")


def _pipe_name(path: str) -> str:
    """Return a stream's name for a named pipe; /dev/fd/63 has a number only."""
    stem = Path(path).stem
    return "pipe" if stem.isdigit() else stem


def _open_pipe(options: SourceOptions, name: str, ring: "RingBuffer", stream: BinaryIO | Path | None) -> "Playback":
    """Open standard input, a given stream, or a named pipe."""
    from streamer.sources.pipe import Pipe
    from streamer.sources.playback import Playback

    device = str(stream) if isinstance(stream, Path) else "standard input"
    pipe = Pipe(stream or sys.stdin.buffer, options.pcm or PcmFormat(), device, options.track)
    return Playback(name, pipe, ring, "unpaced" if options.fast else "as delivered", options.channel)


def _open_recording(
    spec: SourceSpec, options: SourceOptions, name: str | None, ring: "RingBuffer", notice: str
) -> "Playback":
    from streamer.decoding.recording import Recording
    from streamer.sources.playback import Playback

    pace: Pace = "unpaced" if options.fast else "real time"
    if spec.kind == "recording":
        own_name = slugify(name or Path(spec.target).stem)
        return Playback(own_name, Recording(spec.target, track=options.track), ring, pace, options.channel)
    from streamer.sources.demo import WHAT_IT_IS, Demo

    notice = f"{WHAT_IT_IS} {notice}" if notice else WHAT_IT_IS
    return Playback(slugify(name or "demo"), Demo(options.loop), ring, pace, notice=notice)


def _why_no_microphone(portaudio: "PortAudio | None") -> str:
    """Return why the bundled recording plays instead of a microphone, with the cure; empty where there is one."""
    from streamer.sources.devices import find_device, list_devices

    try:
        find_device(None, list_devices(portaudio))
    except StreamerError as error:
        reason = str(error)
        return f"The bundled demo plays, because {reason[0].lower()}{reason[1:]}"
    return ""
