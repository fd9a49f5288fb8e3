"""Journals: files of JSON lines, an event each, the first one `info`. This module names and reads them.

A recorded folder holds `2026-11-30.jsonl`, a day each (by local time), and `2026-11-30.2.jsonl` where a day takes
several; days that are over are compressed to `….jsonl.gz`. The output of `streamer run --headless` is a journal too.
"""

import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from streamer.errors import StreamerError, UsageError
from streamer.events import Event, MalformedEventError, from_json

PLAIN = ".jsonl"
COMPRESSED = ".jsonl.gz"
MAX_LINE = 1 << 20  # bytes; an event has some 500
_DAILY = re.compile(r"(\d{4}-\d{2}-\d{2})(?:\.(\d+))?\.jsonl(?:\.gz)?")


@dataclass(frozen=True, slots=True, order=True)
class DailyName:
    """What the name of a recorded file says; sorts in the order in which they were written."""

    day: str  # 2026-11-30
    part: int  # from 1

    @classmethod
    def of(cls, path: Path) -> "DailyName | None":
        """Return the name of `path`; None where no recorder writes such names."""
        match = _DAILY.fullmatch(path.name)
        return None if match is None else cls(match[1], int(match[2] or 1))

    def path(self, folder: Path, suffix: str = PLAIN) -> Path:
        """Return the file of this name."""
        return folder / (self.day + ("" if self.part == 1 else f".{self.part}") + suffix)


def daily_files(folder: Path) -> list[tuple[DailyName, Path]]:
    """Return the recorded files of `folder`, oldest first.

    Of a day that is there compressed and plain, as after a kill between the two, the compressed one is taken.
    """
    found: dict[DailyName, Path] = {}
    for path in sorted(folder.iterdir()):
        name = DailyName.of(path)
        if name is not None and path.is_file() and (name not in found or path.name.endswith(COMPRESSED)):
            found[name] = path
    return sorted(found.items())


def journals(paths: Sequence[Path]) -> list[Path]:
    """Return the journals that `paths` name: files as they are, and the recorded days of folders.

    Raises:
        UsageError: a path does not exist, or a folder holds no journal.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [file for _, file in daily_files(path)]
            inside = inside or sorted(file for file in path.rglob("*") if _is_journal(file))
            if not inside:
                raise UsageError(f"{path} holds no {PLAIN} file; name a folder that `streamer record` wrote.")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UsageError(f"{path} does not exist; name a file of events (JSON lines), or a folder of them.")
    return list(dict.fromkeys(found))


def _is_journal(path: Path) -> bool:
    """Return whether `path` is named as a journal, and no file that is still being written."""
    return path.name.endswith((PLAIN, COMPRESSED)) and not path.name.startswith(".") and path.is_file()


class JournalReader:
    """Reads events from journals, one file after the other, and counts what it cannot read.

    Args:
        paths: of the journals.
        wanted: leaves out lines before they are parsed.

    Attributes:
        damaged: lines that are no event, and files that end in the middle of their compression.
        events: read so far.
    """

    def __init__(self, paths: Iterable[Path], wanted: Callable[[bytes], bool] = lambda line: True) -> None:
        self._paths = tuple(paths)
        self._wanted = wanted
        self.damaged = 0
        self.events = 0

    def __iter__(self) -> Iterator[Event]:
        """Yield the events.

        Raises:
            StreamerError: a file cannot be opened, or none of them holds an event.
        """
        for path in self._paths:
            for line in self._lines(path):
                try:
                    event = from_json(line)
                except MalformedEventError:
                    self.damaged += 1
                    continue
                self.events += 1
                yield event
        if not self.events:
            names = ", ".join(str(path) for path in self._paths)
            raise StreamerError(f"{names}: no event is in there; name a file of JSON lines that streamer wrote.")

    def _lines(self, path: Path) -> Iterator[bytes]:
        """Yield the lines that may be events: not blank, not longer than any event."""
        with closing(_open(path)) as file:
            too_long = False
            while True:
                try:
                    line = file.readline(MAX_LINE)
                except (OSError, EOFError, zlib.error):  # a truncated or damaged compressed file
                    self.damaged += 1
                    return
                if not line:
                    return
                whole = line.endswith(b"\n")
                if too_long or (not whole and len(line) == MAX_LINE):
                    self.damaged += not too_long
                    too_long = not whole
                elif not line.isspace() and self._wanted(line):
                    yield line


def _open(path: Path) -> BinaryIO:
    try:
        if path.name.endswith(".gz"):
            return cast(BinaryIO, gzip.open(path, "rb"))
        return path.open("rb")
    except OSError as error:
        raise StreamerError(f"{path} cannot be read ({error.strerror or error}).") from error
