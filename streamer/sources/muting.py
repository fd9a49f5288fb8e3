"""Mute streams, and keep on disk which are muted and by whom: a mute outlives a restart and a crash until it is lifted.

One small file a stream lies in the user's state folder. Whoever writes or removes one there (`streamer mute`, another
monitor) mutes or unmutes the stream of that name in every running monitor of this user.
"""

import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

import platformdirs

from streamer.errors import StreamerError
from streamer.replacing import replacing
from streamer.sources.source import Source

MutedBy = Literal["keyboard", "mqtt", "command", "unknown"]
_SUFFIX = ".json"
_WHERE: dict[MutedBy, str] = {
    "keyboard": "at the keyboard",
    "mqtt": "over MQTT",
    "command": "by `streamer mute`",
    "unknown": "by somebody",
}


@dataclass(frozen=True, slots=True)
class Mute:
    """Who muted a stream, and when (seconds since the epoch)."""

    by: MutedBy
    since: float

    def sentence(self, stream: str) -> str:
        """Return one sentence that says who, when, and how it is lifted."""
        try:
            when = f"{datetime.fromtimestamp(self.since):%d %b %H:%M}"
        except (OverflowError, ValueError, OSError):  # a damaged file
            when = "some time ago"
        return f"Muted {_WHERE[self.by]}, {when}; `m` or `streamer mute --lift {stream}` lifts it."


class MuteStore:
    """The mutes on disk. Safe for several threads and processes: a file is replaced or removed as a whole."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or platformdirs.user_state_path("streamer") / "muted"

    def names(self) -> frozenset[str]:
        """Return the names of the muted streams.

        Raises:
            StreamerError: the folder cannot be read, so nobody knows.
        """
        try:
            return frozenset(name[: -len(_SUFFIX)] for name in os.listdir(self.folder) if name.endswith(_SUFFIX))
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise StreamerError(
                f"Which streams are muted cannot be read from {self.folder} ({error.strerror}); change its permissions."
            ) from error

    def read(self, stream: str) -> Mute:
        """Return the stored mute of `stream`; what cannot be read was muted by somebody."""
        try:
            stored = json.loads(self._path(stream).read_text(encoding="utf-8"))
            by, since = stored["by"], float(stored["since"])
            return Mute(by if by in get_args(MutedBy) else "unknown", since)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return Mute("unknown", time.time())

    def save(self, stream: str, mute: Mute) -> None:
        """Store a mute, through to the disk.

        Raises:
            StreamerError: it cannot be written.
        """
        path = self._path(stream)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
                json.dump({"by": mute.by, "since": mute.since}, file)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StreamerError(
                f"That {stream} is muted cannot be kept in {path} ({error.strerror}), so a restart would forget it; "
                "make room or change its permissions."
            ) from error

    def remove(self, stream: str) -> None:
        """Remove a stored mute; where there is none, nothing happens.

        Raises:
            StreamerError: it cannot be removed.
        """
        path = self._path(stream)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StreamerError(
                f"The mute of {stream} cannot be removed from {path} ({error.strerror}); change its permissions."
            ) from error

    def _path(self, stream: str) -> Path:
        return self.folder / f"{stream}{_SUFFIX}"


class Muting:
    """Mutes the sources of one monitor. For any thread.

    A source that is not in real time (`--fast`) is left alone by what is on disk: nothing is captured, and whoever
    processes recordings would wait for ever.
    """

    def __init__(self, store: MuteStore | None = None) -> None:
        self._store = store or MuteStore()
        self._lock = threading.Lock()  # held while a file is written: what is on disk and what holds do not cross
        self._muted: dict[str, Mute] = {}
        self._unsaved: set[str] = set()  # muted, though the disk does not know

    def get(self, stream: str) -> Mute | None:
        """Return the mute of `stream` in this monitor; None where it is not muted."""
        return self._muted.get(stream)

    def mute(self, source: Source, by: MutedBy) -> None:
        """Mute `source` at once, then store it. Muted already, it stays as it is.

        Raises:
            StreamerError: it is muted, but cannot be stored.
        """
        with self._lock:
            if source.name in self._muted:
                return
            mute = self._muted[source.name] = Mute(by, time.time())
            source.mute(True)
            self._unsaved.add(source.name)
            self._store.save(source.name, mute)
            self._unsaved.discard(source.name)

    def lift(self, source: Source) -> None:
        """Unmute `source`, and forget it on disk first: what cannot be lifted there would come back.

        Raises:
            StreamerError: the stored mute cannot be removed; the source stays muted.
        """
        with self._lock:
            self._store.remove(source.name)
            self._release(source)

    def adopt(self, source: Source) -> Mute | None:
        """Mute a source that is new, not started yet, where the disk says so; return its mute.

        Raises:
            StreamerError: the disk cannot be read, so the source must not be captured.
        """
        with self._lock:
            if source.realtime and source.name in self._store.names():
                self._muted[source.name] = self._store.read(source.name)
                source.mute(True)
            return self._muted.get(source.name)

    def forget(self, stream: str) -> None:
        """Forget a stream that was removed; the disk keeps its mute."""
        with self._lock:
            self._muted.pop(stream, None)
            self._unsaved.discard(stream)

    def follow(self, sources: Mapping[str, Source]) -> tuple[str, ...]:
        """Mute and unmute what was changed on disk by others; return the names of those streams.

        While the disk cannot be read, all stays as it is.
        """
        with self._lock:
            try:
                stored = self._store.names()
            except StreamerError:
                return ()
            came = [s for name, s in sources.items() if s.realtime and name in stored and name not in self._muted]
            kept = stored | self._unsaved
            went = [s for name, s in sources.items() if name in self._muted and name not in kept]
            for source in came:
                self._muted[source.name] = self._store.read(source.name)
                source.mute(True)
            for source in went:
                self._release(source)
            return tuple(source.name for source in (*came, *went))

    def _release(self, source: Source) -> None:
        self._muted.pop(source.name, None)
        self._unsaved.discard(source.name)
        source.mute(False)
