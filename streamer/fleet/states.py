"""What the director knows of each stream and of each shard."""

import math
from dataclasses import dataclass, field

from streamer.fleet.leases import Epoch, Report
from streamer.fleet.table import StreamRow


@dataclass(slots=True, eq=False)
class Stream:
    """A row of the table, and where it is served."""

    row: StreamRow
    shard: "Shard | None" = None  # that has the lease
    epoch: Epoch = (0, 0)
    leased_at: float = 0.0
    confirmed: bool = False  # its shard reported it
    leaving: bool = False  # it is to be released
    target: "Shard | None" = None  # keeps a place for it
    waits_since: float | None = None
    not_before: float = -math.inf  # the next try
    tries: int = 0  # in vain, since it was served last
    refusals: int = 0  # by shards, since one confirmed it
    reason: str = ""  # why it is not served, or leaves
    orphaned: bool = True  # not let go of in order by whoever served it last, or nobody knows

    def leave(self, reason: str, target: "Shard | None" = None) -> None:
        """Mark it to be released; `target` keeps a place for it."""
        self.leaving, self.reason = True, reason
        if target is not None:
            self.keep(target)

    def keep(self, target: "Shard") -> None:
        """Have a place kept on `target`."""
        self.target = target
        target.kept += 1

    def drop_place(self) -> None:
        """Give up the place that is kept for it."""
        if self.target is not None:
            self.target.kept -= 1
            self.target = None

    def lease(self, shard: "Shard", epoch: Epoch, now: float) -> None:
        """Be served by `shard`."""
        self.drop_place()
        self.shard, self.epoch, self.leased_at = shard, epoch, now
        self.confirmed = self.leaving = False
        self.waits_since, self.reason, self.tries = None, "", 0
        shard.streams[self.row.name] = self

    def wait(self, now: float, reason: str) -> None:
        """Be served by nobody; wait for a lease."""
        if self.shard is not None:
            self.shard.streams.pop(self.row.name, None)
        self.shard, self.leaving, self.confirmed = None, False, False
        self.waits_since, self.reason, self.tries, self.not_before = now, reason, 0, -math.inf

    def find_no_place(self) -> None:
        """Note that a try to give it a lease was in vain."""
        self.tries += 1
        if self.tries == 1:
            before = f"{self.reason}, and " if self.reason else ""
            self.reason = f"{before}no shard of the group {self.row.group!r} has room"


@dataclass(slots=True, eq=False)
class Shard:
    """A shard as it reported last."""

    report: Report
    streams: dict[str, Stream] = field(default_factory=dict)
    kept: int = 0  # places for streams that are on their way
    limit: int | None = None  # fewer streams than its capacity allows, since it was behind
    limit_until: float = 0.0
    behind_since: float | None = None
    is_up: bool = True
    free_at: float | None = None  # fenced: when its leases are void; infinite until the fence stands

    @property
    def name(self) -> str:
        """Its name."""
        return self.report.shard

    @property
    def answers(self) -> bool:
        """Whether it takes orders."""
        return self.is_up and self.free_at is None


@dataclass(slots=True)
class Counters:
    """What has happened since the director was started."""

    leases: int = 0  # given
    moved: int = 0  # in order, from shard to shard
    lost: int = 0  # leases that ended with their shard
    refused: int = 0  # leases that a shard could not act on
    fenced: int = 0  # shards
