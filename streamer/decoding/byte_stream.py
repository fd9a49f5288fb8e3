"""A binary stream that another program writes, read without ever waiting for long."""

import contextlib
import io
import math
import os
import select
import tempfile
import threading
import time
from pathlib import Path
from typing import BinaryIO

WAIT_S = 0.1  # the longest that a read waits, so that its thread can be stopped


class ByteStream:
    """Standard input, a named pipe, or /dev/fd/N."""

    def __init__(self, stream: BinaryIO | Path) -> None:
        self._given = stream  # kept: collected as garbage, it would close the descriptor that is read
        self._stream: BinaryIO | io.FileIO | None = None if isinstance(stream, Path) else stream
        self._fd: int | None = None
        self._unread = b""
        self.arrived_s = -math.inf  # monotonic moment at which data came last

    def open(self) -> None:
        """Take over the stream, unbuffered where it has a file descriptor; a named pipe may have no writer yet.

        Raises:
            OSError: the path cannot be opened.
        """
        if isinstance(self._given, Path):
            self._fd = os.open(self._given, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            self._stream = io.FileIO(self._fd)
            return
        try:
            # Unbuffered: a thread that waits inside the lock of sys.stdin's buffer would break the program's exit.
            self._fd = self._given.fileno()
            self._stream = io.FileIO(self._fd, closefd=False)
        except io.UnsupportedOperation:
            self._fd = None  # a stream in memory

    def isatty(self) -> bool:
        """Return whether a keyboard is at the other end."""
        return not isinstance(self._given, Path) and self._given.isatty()

    def read(self, count: int) -> bytes | None:
        """Return up to `count` bytes; None after 0.1 s without any; b"" at the end."""
        data, self._unread = self._unread[:count], self._unread[count:]
        if len(data) == count and count:
            return data
        if self._stream is None or not self._ready(0.0 if data else WAIT_S):
            return data or None
        # None where a pipe that does not block was emptied by somebody else
        more = self._stream.read(count - len(data))
        if more:
            self.arrived_s = time.monotonic()
        return more if not data else data + (more or b"")

    def unread(self, data: bytes) -> None:
        """Give back what was read last: the next read returns it."""
        self._unread = data + self._unread

    def close(self) -> None:
        """Close what was opened here. Safe to call twice."""
        if isinstance(self._given, Path) and self._stream is not None:
            stream, self._stream = self._stream, None
            stream.close()

    def _ready(self, wait_s: float) -> bool:
        if self._fd is None:
            return True
        try:
            return bool(select.select([self._fd], [], [], wait_s)[0])
        except (OSError, ValueError):
            return True  # Windows waits for sockets only: the read itself waits


class WaitingReader:
    """What a decoder reads a `ByteStream` through: a read waits for data, until `stop` is set."""

    def __init__(self, stream: ByteStream, stop: threading.Event) -> None:
        self._stream = stream
        self._stop = stop

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes; b"" at the end."""
        while not self._stop.is_set():
            data = self._stream.read(count)
            if data is not None:
                return data
        return b""

    def close(self) -> None:
        """Do nothing: the stream belongs to its reader."""


class SpoolingReader:
    """The same, for a decoder that must seek: what was read is kept in a temporary file."""

    def __init__(self, reader: WaitingReader) -> None:
        self._reader = reader
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        self._ended = False

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes; b"" at the end."""
        data = self._file.read(count)
        if data:
            return data
        data = self._reader.read(count)
        self._file.write(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; read on as far as is needed."""
        position = self._file.tell()
        target = offset + (position if whence == io.SEEK_CUR else 0)
        end = self._file.seek(0, io.SEEK_END)
        while not self._ended and (whence == io.SEEK_END or end < target):
            data = self._reader.read(1 << 16)
            self._ended = not data
            end += self._file.write(data)
        return self._file.seek(target if whence != io.SEEK_END else end + offset)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def close(self) -> None:
        """Remove the temporary file."""
        with contextlib.suppress(OSError):
            self._file.close()
