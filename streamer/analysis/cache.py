"""Cache of computed rows, keyed by the SHA-256 of the recording they come from.

It consists of two append-only files: the rows' bytes, and a journal with one JSON line per recording, written after its
rows. A process that is killed leaves at worst rows without a line, which the next process overwrites, and half a line,
which it skips. The checksum in each line reveals rows that were lost in a power failure.
"""

import contextlib
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[Any]  # [n, D] float32, or int16 for codes

_DTYPES = (np.dtype(np.float32).str, np.dtype(np.int16).str, np.dtype(np.int64).str)
_MOST = 2**62  # of bytes and rows
CHUNK_ROWS = 65_536  # rows read at once: 65,536 x 128 x 4 bytes = 32 MB of float32


@dataclass(frozen=True, slots=True)
class Entry:
    """Position, shape and checksum of the rows of one recording."""

    sha256: str  # of the recording
    offset: int  # bytes
    rows: int
    width: int
    dtype: str
    crc32: int

    @property
    def size(self) -> int:
        """Size of the rows in bytes."""
        return self.rows * self.width * np.dtype(self.dtype).itemsize


class RowCache:
    """Stores the rows computed with one key. For one process at a time; writing needs a `with` statement.

    Args:
        folder: where the two files are; made if missing.
        key: digest of the settings and weights that the rows depend on.
    """

    def __init__(self, folder: Path, key: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._data_path = folder / f"{key}.rows"
        self._journal_path = folder / f"{key}.jsonl"
        self._entries = {entry.sha256: entry for entry in self._read_journal()}
        self._data: IO[bytes] | None = None
        self._journal: IO[str] | None = None

    def __enter__(self) -> Self:
        self._data_path.touch()
        self._data = self._data_path.open("r+b")
        self._data.seek(max((entry.offset + entry.size for entry in self._entries.values()), default=0))
        self._data.truncate()
        self._journal = self._journal_path.open("a", encoding="utf-8")
        if self._journal.tell():
            self._journal.write("\n")  # terminates the half line of a process that was killed
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.ExitStack() as files:  # on a full disk the first may fail to close
            for file in (self._data, self._journal):
                if file is not None:
                    files.callback(file.close)
            self._data = self._journal = None

    def __contains__(self, sha256: object) -> bool:
        return sha256 in self._entries

    def __getitem__(self, sha256: str) -> Entry:
        return self._entries[sha256]

    def put(self, recordings: Iterable[tuple[str, Iterable[Rows]]]) -> None:
        """Store the rows of recordings, each given as its SHA-256 and pieces `[n, D]`.

        All of them are stored together; if `recordings` or a piece raises, none is.
        """
        if self._data is None or self._journal is None:
            raise RuntimeError("The cache is not open; use it in a with statement.")
        begin = self._data.tell()
        try:
            entries = [self._append(self._data, sha256, pieces) for sha256, pieces in recordings]
        except BaseException:
            self._data.seek(begin)
            self._data.truncate()
            raise
        self._data.flush()  # rows must be on disk before the lines that refer to them
        self._journal.write("".join(json.dumps(asdict(entry)) + "\n" for entry in entries))
        self._journal.flush()
        self._entries.update((entry.sha256, entry) for entry in entries)

    @staticmethod
    def _append(data: IO[bytes], sha256: str, pieces: Iterable[Rows]) -> Entry:
        offset = data.tell()
        crc, rows, width, dtype = 0, 0, 0, np.dtype(np.float32)
        for piece in pieces:
            content = piece.tobytes()
            crc = zlib.crc32(content, crc)
            data.write(content)
            rows, width, dtype = rows + len(piece), piece.shape[1], piece.dtype
        return Entry(sha256, offset, rows, width, dtype.str, crc)

    def pieces(self, sha256: str) -> Iterator[Rows]:
        """Yield the rows of one recording, in pieces `[n, D]` of at most 65,536 rows."""
        entry = self._entries[sha256]
        with self._data_path.open("rb") as data:
            yield from _pieces(data, entry)

    def forget_damaged(self, wanted: Iterable[str]) -> None:
        """Drop those of the `wanted` recordings whose rows no longer match their checksum."""
        for sha256 in [sha256 for sha256 in wanted if sha256 in self._entries]:
            crc, rows = 0, 0
            for piece in self.pieces(sha256):
                crc, rows = zlib.crc32(piece.tobytes(), crc), rows + len(piece)
            entry = self._entries[sha256]
            if (crc, rows) != (entry.crc32, entry.rows):
                del self._entries[sha256]

    def _read_journal(self) -> Iterator[Entry]:
        if not self._journal_path.is_file() or not self._data_path.is_file():
            return
        size = self._data_path.stat().st_size
        with self._journal_path.open(encoding="utf-8", errors="replace") as journal:
            for line in journal:
                entry = _entry(line)
                if entry is not None and entry.offset + entry.size <= size:
                    yield entry


def _entry(line: str) -> Entry | None:
    """Return what a line of the journal says; None for half a line, an empty one, or one that was never written so."""
    try:
        entry = Entry(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return None
    numbers = (entry.offset, entry.rows, entry.width, entry.crc32)
    well_formed = (
        isinstance(entry.sha256, str)
        and entry.dtype in _DTYPES
        and all(type(number) is int and 0 <= number < _MOST for number in numbers)
        and entry.width > 0
    )
    return entry if well_formed else None


def _pieces(data: IO[bytes], entry: Entry) -> Iterator[Rows]:
    data.seek(entry.offset)
    dtype = np.dtype(entry.dtype)
    for begin in range(0, entry.rows, CHUNK_ROWS):
        rows = min(CHUNK_ROWS, entry.rows - begin)
        values = np.frombuffer(data.read(rows * entry.width * dtype.itemsize), dtype)
        yield values[: len(values) // entry.width * entry.width].reshape(-1, entry.width)
