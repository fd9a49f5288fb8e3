"""Read raw PCM from a binary stream, usually standard input."""

import io
import select
from typing import Any, BinaryIO

import numpy as np

from streamer.audio.resample import Block
from streamer.audio.source import Encoding, PcmFormat
from streamer.errors import UsageError

_DTYPES: dict[Encoding, Any] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
WAIT_S = 0.1  # the longest that a read waits, so that its thread can be stopped


class Pipe:
    """Implements `playback.BlockReader` for raw PCM that another program writes.

    A read that ends in the middle of a frame keeps the odd bytes for the next one.
    """

    def __init__(self, stream: BinaryIO, pcm: PcmFormat, device: str = "standard input") -> None:
        self._given = stream  # kept: collected as garbage, it would close the descriptor that is read
        self._stream: BinaryIO | io.FileIO = stream
        self._fd: int | None = None
        self._dtype = _DTYPES[pcm.encoding]
        self._frame_bytes = self._dtype.itemsize * pcm.channels
        self._carried = b""
        self._started = False
        self.device = device
        self.rate_hz = float(pcm.rate_hz)
        self.channels = pcm.channels
        self.problem = ""

    def open(self) -> None:
        """Take over the stream, unbuffered where it has a file descriptor.

        Raises:
            UsageError: it is a terminal.
        """
        if self._stream.isatty():
            raise UsageError(
                "Standard input is a terminal; pipe raw PCM into it, for example "
                "`arecord -t raw -f S16_LE -r 16000 -c 1 | streamer run -`."
            )
        try:
            # Unbuffered: a thread that waits inside the lock of sys.stdin's buffer would break the program's exit.
            self._fd = self._stream.fileno()
            self._stream = io.FileIO(self._fd, closefd=False)
        except io.UnsupportedOperation:
            self._fd = None  # a stream in memory

    def read(self, frames: int) -> Block | None:
        """Return up to `frames` frames, [n, channels] int16 or float32; n = 0 after 0.1 s without any; None at end."""
        if not self._ready():
            return self._decode(b"")
        data = self._stream.read(frames * self._frame_bytes - len(self._carried))
        if data:
            return self._decode(data)
        self.problem = self._problem_at_end()
        return None

    def close(self) -> None:
        """Do nothing: the stream belongs to the caller."""

    def _ready(self) -> bool:
        if self._fd is None:
            return True
        try:
            return bool(select.select([self._fd], [], [], WAIT_S)[0])
        except OSError:
            return True  # Windows waits for sockets only: the read itself waits

    def _problem_at_end(self) -> str:
        if not self._started:
            return f"{self.device.capitalize()} ended before it delivered any audio; check the program that writes it."
        if self._carried:
            return (
                f"{self.device.capitalize()} ended with {len(self._carried)} bytes of an unfinished frame; "
                f"check --format and --channels."
            )
        return ""

    def _decode(self, data: bytes) -> Block:
        self._started = self._started or bool(data)
        data = self._carried + data
        whole = len(data) // self._frame_bytes * self._frame_bytes
        self._carried = data[whole:]
        return np.frombuffer(data[:whole], dtype=self._dtype).reshape(-1, self.channels)
