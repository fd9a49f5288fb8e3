"""Write lines into daily files that survive kills, power cuts, full disks and whoever moves them away.

What was added is in the file, though perhaps not yet on the disk, when `flush` returns; `sync` puts it on the disk. A
line that a kill or a full disk has cut in two is completed, or closed off, before the next one is written.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from streamer.sessions.compression import UNFINISHED, Compression
from streamer.sessions.journal import COMPRESSED, PLAIN, DailyName, daily_files

PARTS = 8  # a file is at most this part of the folder's bound, so that removing the oldest frees enough
MEGABYTE = 1_000_000


@dataclass(slots=True)
class _Open:
    """The file being written."""

    name: DailyName
    path: Path
    descriptor: int
    size: int
    identity: tuple[int, int]  # device and inode
    unsynced: bool = False
    torn: bool = False  # ends in the first half of a line, whose second half waits for room


class JournalWriter:
    """Appends to the file of the day; not for several threads.

    Args:
        folder: exists.
        max_bytes: of all daily files together; the oldest are removed.
        say: receives a sentence where files are removed or were moved away.
        wall: names the day, by local time.
    """

    def __init__(
        self, folder: Path, max_bytes: int, say: Callable[[str], None], wall: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._say = say
        self._wall = wall
        self._file: _Open | None = None
        self._header = b""
        self._rest = b""  # of lines that the disk had no room for yet
        self._compression: Compression | None = None
        self._untidy = False  # there may be days to compress

    @property
    def backlog(self) -> int:
        """Lines that the disk had no room for yet."""
        return self._rest.count(b"\n")

    def head(self, line: bytes) -> None:
        """Let every file begin with `line` from now on, and the open one go on with it."""
        self._header = line
        if self._file is not None or self._rest:
            self.add(line)

    def add(self, lines: bytes) -> None:
        """Add whole lines to what `flush` writes."""
        self._rest += lines

    def flush(self) -> None:
        """Write what was added to the file of the day.

        Raises:
            OSError: not all could be written; the next call goes on where this one stopped.
        """
        if not self._rest and (self._file is not None or not self._header):
            return
        file = self._current()
        while self._rest:
            written = os.write(file.descriptor, self._rest)
            file.torn = self._rest[written - 1 : written] != b"\n"
            self._rest = self._rest[written:]
            file.size += written
            file.unsynced = True

    def sync(self) -> None:
        """Put on the disk what was appended.

        Raises:
            OSError: the disk failed.
        """
        if self._file is not None and self._file.unsynced:
            os.fsync(self._file.descriptor)
            self._file.unsynced = False

    def tidy(self) -> None:
        """Do a bit of what is due, for some hundredths of a second: compress past days, keep to the bound."""
        if self._compression is None and self._untidy:
            self._compression = self._next_compression()
            self._untidy = self._compression is not None
            self._keep_to_bound()
        if self._compression is not None:
            try:
                over = self._compression.step()
            except OSError:
                self._compression, self._untidy = None, False  # until the next day
                raise
            if over:
                self._compression = None

    def close(self) -> None:
        """Put everything on the disk and close the file. Lines that never found room are lost: see `backlog`."""
        if self._compression is not None:
            self._compression.abandon()
            self._compression = None
        self._close_file()

    def _current(self) -> _Open:
        """Return the file of the day, opened if need be: the day is over, the file is full or was moved away."""
        day = time.strftime("%Y-%m-%d", time.localtime(self._wall()))
        file = self._file
        if file is not None and not file.torn:
            if file.name.day != day or file.size >= self._max_bytes // PARTS:
                self._close_file()
            elif not _is_there(file):
                self._say(f"{file.path} was moved away or removed; recording goes on in a new one.")
                self._close_file()
        if self._file is None:
            self._file = self._open_file(day)
        return self._file

    def _open_file(self, day: str) -> _Open:
        self._folder.mkdir(parents=True, exist_ok=True)  # somebody may have removed it
        self._untidy = True
        self._keep_to_bound()
        parts = [name.part for name, path in daily_files(self._folder) if name.day == day]
        name = DailyName(day, max(parts, default=1))
        full = self._max_bytes // PARTS
        path = name.path(self._folder)
        if name.path(self._folder, COMPRESSED).exists() or (path.exists() and path.stat().st_size >= full):
            name = DailyName(day, name.part + 1)
            path = name.path(self._folder)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o600)
        status = os.fstat(descriptor)
        torn = status.st_size > 0 and os.pread(descriptor, 1, status.st_size - 1) != b"\n"
        # In front of whatever waits, and of the header: a line that a kill has cut is closed off.
        self._rest = (b"\n" if torn else b"") + self._header + self._rest
        with suppress(OSError):  # not every file system can
            _sync_folder(self._folder)
        return _Open(name, path, descriptor, status.st_size, (status.st_dev, status.st_ino))

    def _close_file(self) -> None:
        if self._file is None:
            return
        try:
            self.sync()
        finally:
            os.close(self._file.descriptor)
            self._file = None

    def _next_compression(self) -> Compression | None:
        """Return the work on the oldest file that is plain and over."""
        for path in self._folder.glob(f"*{UNFINISHED}"):  # a kill came in between
            path.unlink()
        for path in sorted(self._folder.glob(f"*{PLAIN}")):
            name = DailyName.of(path)
            if name is not None and (self._file is None or name < self._file.name):
                return Compression(path, name.path(self._folder, COMPRESSED))
        return None

    def _keep_to_bound(self) -> None:
        """Remove the oldest days until what is there, and one full file more, keep to the bound."""
        files = [(name, path, path.stat().st_size) for name, path in daily_files(self._folder)]
        total = sum(size for _, _, size in files)
        for name, path, size in files:
            if total <= self._max_bytes - self._max_bytes // PARTS:
                return
            if self._file is not None and name == self._file.name:
                continue
            path.unlink()
            total -= size
            bound = f"{self._max_bytes / MEGABYTE:,.0f} MB"
            self._say(f"{path.name} was removed: {self._folder} holds at most {bound} (record.max_mb).")


def _is_there(file: _Open) -> bool:
    try:
        status = file.path.stat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == file.identity


def _sync_folder(folder: Path) -> None:
    """Put the name of a new file on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
