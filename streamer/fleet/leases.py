"""What the director and its shards say to each other: plain, frozen values, the same over Ray and in a simulation."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamer.fleet.table import StreamRow

Epoch = tuple[int, int]  # the director's generation, and a counter within it; a later lease has a greater one

HOLD_S = 4.0  # a shard that could not prove for so long that it is not fenced is silent; the director waits as long


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to serve a stream, until the director takes it back or the shard is fenced."""

    row: StreamRow
    epoch: Epoch
    orphaned: bool = False  # whoever served the stream was lost, and may have left an emotion open


@dataclass(frozen=True, slots=True)
class Report:
    """What a shard says of itself, every second or two."""

    shard: str
    group: str
    incarnation: str  # another one after each start, and after a fence
    node: str  # Ray's id of it
    host: str
    capacity: int  # streams that it can serve
    held: Mapping[str, Epoch]  # the leases it acts on, by stream
    behind: frozenset[str] = frozenset()  # streams whose windows are skipped
    figures: Mapping[str, float] = field(default_factory=dict)  # for people, not for decisions
    streams: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # status word and detail, by stream
    metrics: str = ""  # where Prometheus finds its figures; empty: nowhere
    broker: str = ""  # what is wrong with its connection; empty: nothing


@dataclass(frozen=True, slots=True)
class Serve:
    """Order a shard to serve streams."""

    shard: str
    leases: tuple[Lease, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Order a shard to end streams, with the epochs of the leases that are over."""

    shard: str
    streams: Mapping[str, Epoch]


@dataclass(frozen=True, slots=True)
class Fence:
    """Put down where the shard looks that this incarnation of it is over."""

    shard: str
    incarnation: str


@dataclass(frozen=True, slots=True)
class Restart:
    """End a shard in order; Ray starts it again."""

    shard: str


Order = Serve | Release | Fence | Restart
