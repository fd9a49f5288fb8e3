"""What `fleet status` shows: the whole fleet at one moment, as plain values."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from streamer.fleet.ledger import Ledger
from streamer.fleet.places import Places
from streamer.fleet.states import Shard

# Of a stream, the worst first: what a person must look at.
WORST = (
    "unserved", "source lost", "behind", "no signal", "starting", "warming", "ended", "paused", "silence", "live",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One shard."""

    name: str
    state: str  # up, behind, emptying, restarting, fenced, lost, starting
    host: str
    node: str
    streams: int
    places: int  # streams that it may have
    capacity: int  # streams that it can serve
    figures: Mapping[str, float]
    metrics: str
    problem: str


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream."""

    name: str
    status: str  # the shard's status word, or `unserved`
    shard: str
    group: str
    priority: int
    detail: str  # why it is not served
    waits_s: float
    tries: int


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """A fleet."""

    name: str
    time: float
    generation: int  # of the director: how often it was started
    served: int
    unserved: int
    recovering: bool  # shards of an earlier director have not reported yet
    restarting: int  # shards that a rolling restart has before it
    cordoned: tuple[str, ...]
    counters: Mapping[str, int]
    problem: str  # of the table
    shards: tuple[ShardStatus, ...]
    streams: tuple[StreamStatus, ...]  # the worst first

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """The fleet on one line."""
        up = sum(shard.state != "starting" and shard.state != "lost" for shard in self.shards)
        text = f"{self.served:,} of {self.served + self.unserved:,} streams served by {up} of {len(self.shards)} shards"
        if self.recovering:
            text += "; a new director asks the shards what they serve"
        if self.restarting:
            text += f"; {self.restarting} shards are still to be restarted"
        return text


def status_of(
    name: str, generation: int, ledger: Ledger | None, problems: Mapping[str, str], problem: str
) -> FleetStatus:
    """Return the status of a fleet.

    Args:
        name: of the fleet.
        generation: of its director.
        ledger: None before the table could be read.
        problems: every shard that should be there, and why its monitor does not run.
        problem: what is wrong with the table.
    """
    if ledger is None:
        return FleetStatus(name, time.time(), generation, 0, 0, True, 0, (), {}, problem, (), ())
    now, places = time.monotonic(), Places((), ledger.table.fleet.fill)
    shards = [_shard(shard, ledger.shards.get(shard), ledger, places, trouble) for shard, trouble in problems.items()]
    streams = [
        StreamStatus(
            name=stream.row.name,
            status="unserved" if stream.shard is None else _word(stream.shard, stream.row.name),
            shard="" if stream.shard is None else stream.shard.name,
            group=stream.row.group,
            priority=stream.row.priority,
            detail=stream.reason,
            waits_s=0.0 if stream.waits_since is None else round(now - stream.waits_since, 1),
            tries=stream.tries,
        )
        for stream in list(ledger.streams.values())
    ]
    unserved = sum(stream.status == "unserved" for stream in streams)
    rank = {word: number for number, word in enumerate(WORST)}
    streams.sort(key=lambda one: (rank.get(one.status, 3), -one.priority, one.name))
    return FleetStatus(
        name=name,
        time=time.time(),
        generation=generation,
        served=len(streams) - unserved,
        unserved=unserved,
        recovering=ledger.is_recovering,
        restarting=ledger.rolling.left,
        cordoned=tuple(sorted(ledger.cordoned)),
        counters=asdict(ledger.counters),
        problem=problem,
        shards=tuple(shards),
        streams=tuple(streams),
    )


def _shard(name: str, shard: Shard | None, ledger: Ledger, places: Places, problem: str) -> ShardStatus:
    if shard is None:
        text = problem or "it starts, or waits for room in the cluster"
        return ShardStatus(name, "starting", "", "", 0, 0, 0, {}, "", text)
    report = shard.report
    state = "up"
    if shard.free_at is not None:
        state = "fenced" if shard.streams else "lost"
    elif not shard.is_up:
        state = "lost"
    elif ledger.rolling.holds(name):
        state = "restarting"
    elif ledger.is_cordoned(shard):
        state = "emptying" if shard.streams else "empty"
    elif report.behind:
        state = "behind"
    return ShardStatus(
        name, state, report.host, report.node, len(shard.streams), places.size(shard), report.capacity,
        report.figures, report.metrics, problem or report.broker,
    )  # fmt: skip


def _word(shard: Shard, stream: str) -> str:
    return shard.report.streams.get(stream, ("starting", ""))[0]
