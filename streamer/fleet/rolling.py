"""Restart all shards one after the other, never two at once, and none while another is down."""

from collections import deque
from collections.abc import Iterable, Mapping

from streamer.fleet.states import Shard


class Rolling:
    """Which shard is restarted when: first its streams move off, as far as others have room."""

    def __init__(self) -> None:
        self._queue: deque[str] = deque()
        self._current = ""  # gets no more streams; empty: none
        self._incarnation = ""  # of it, before
        self._ordered = False  # its restart

    @property
    def left(self) -> int:
        """How many shards are still to be restarted, or just are."""
        return len(self._queue) + bool(self._current)

    def begin(self, names: Iterable[str]) -> None:
        """Restart these; those that wait already keep their place."""
        self._queue.extend(name for name in sorted(names) if name not in self._queue and name != self._current)

    def holds(self, name: str) -> bool:
        """Return whether a shard must get no more streams, since it is next."""
        return name == self._current

    def step(self, shards: Mapping[str, Shard], all_up: bool) -> str | None:
        """Return the shard that is to be restarted now; None: none is.

        Args:
            shards: by name; what could be moved off the current one has been marked.
            all_up: no shard is down or fenced.
        """
        shard = shards.get(self._current)
        if shard is None:
            self._current, self._ordered = "", False
            while all_up and self._queue and not self._current:
                name = self._queue.popleft()
                self._current = name if name in shards else ""
            self._incarnation = shards[self._current].report.incarnation if self._current else ""
            return None
        if shard.report.incarnation != self._incarnation:
            self._current, self._ordered = "", False  # it is back, or has restarted by itself
            return None
        if self._ordered or not all_up or any(stream.leaving for stream in shard.streams.values()):
            return None
        self._ordered = True
        return self._current
