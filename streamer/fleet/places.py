"""Free places on shards: the emptiest shard of a group first."""

import heapq
import math
from collections.abc import Iterable

from streamer.fleet.states import Shard


class Places:
    """The free places at one moment. Whoever takes one lets the shard have the stream, or keeps the place for it.

    Args:
        shards: that may get streams.
        fill: the share of a shard's capacity that is given.
    """

    def __init__(self, shards: Iterable[Shard], fill: float) -> None:
        self._fill = fill
        self._heaps: dict[str, list[tuple[float, str, Shard]]] = {}
        for shard in shards:
            self._push(self._heaps.setdefault(shard.report.group, []), shard, len(shard.streams) + shard.kept)

    def _push(self, heap: list[tuple[float, str, Shard]], shard: Shard, used: int) -> None:
        if used < self.size(shard):
            heapq.heappush(heap, (used / self.size(shard), shard.name, shard))

    def size(self, shard: Shard) -> int:
        """Return how many streams a shard may have: at least one, if it can serve any."""
        capacity = shard.report.capacity
        size = max(1, math.floor(self._fill * capacity + 1e-9)) if capacity else 0
        return size if shard.limit is None else min(size, shard.limit)

    def fits(self, shard: Shard) -> bool:
        """Return whether a stream with a place kept on the shard fits on it now."""
        return len(shard.streams) < self.size(shard)

    def has_room(self, group: str) -> bool:
        """Return whether `take` would find a place."""
        return bool(self._heaps.get(group))

    def take(self, group: str, other_than: Shard | None = None) -> Shard | None:
        """Take a place on the emptiest shard of a group; None: there is none."""
        heap = self._heaps.get(group, [])
        aside = [heapq.heappop(heap)] if heap and heap[0][2] is other_than else []
        found = heapq.heappop(heap)[2] if heap else None
        for entry in aside:
            heapq.heappush(heap, entry)
        if found is not None:
            self._push(heap, found, len(found.streams) + found.kept + 1)
        return found
