"""Run the director's decisions alone, with thousands of made-up streams and shards that die, hang and come back.

    python -m streamer.fleet.simulation --streams 10000 --shards 500

No model, no audio, no Ray: time is simulated, and what is measured is the time that decisions take. At every step it is
checked that no stream is served twice.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from pydantic import SecretStr

from streamer.fleet.leases import HOLD_S, Epoch, Fence, Release, Report, Restart, Serve
from streamer.fleet.ledger import Ledger
from streamer.fleet.table import FleetTable, GroupConfig, StreamRow

STEP_S = 1.0  # between two rounds of reports
UNREACHABLE_S = 3.0  # without a report, after which a shard is fenced
BACK_S = (5.0, 30.0)  # after which a dead shard is back
HANGS_S = (2.0, 20.0)


@dataclass(slots=True)
class _Shard:
    """A made-up shard: it does what it is told, unless it is dead or hangs."""

    name: str
    capacity: int
    incarnation: int = 0
    held: dict[str, Epoch] = field(default_factory=dict)
    dead_until: float = -math.inf
    deaf_until: float = -math.inf  # it works, and nobody reaches it
    reached_at: float = 0.0
    fenced_at: float | None = None
    slow: float = -math.inf  # behind until then


@dataclass(frozen=True, slots=True)
class Failures:
    """How often what goes wrong, for each shard and second."""

    death: float = 1 / 1000
    hang: float = 1 / 1000
    slow: float = 1 / 5000
    director: float = 1 / 60  # of the whole


@dataclass(slots=True)
class Outcome:
    """What came of a run; times in seconds."""

    streams: int
    shards: int
    simulated_s: float = 0.0
    decisions: int = 0  # leases given, streams released, shards fenced and restarted
    deciding_s: float = 0.0  # of CPU time
    decisions_per_s: float = 0.0
    first_full_s: float = math.nan  # CPU time until the first decision has placed all
    slowest_step_s: float = 0.0  # CPU time
    deaths: int = 0
    hangs: int = 0
    director_deaths: int = 0
    served_twice: int = 0
    unserved_p50_s: float = 0.0  # simulated, for which a stream was not served after its shard was lost
    unserved_p99_s: float = 0.0
    unserved_longest_s: float = 0.0
    converged_s: float = math.nan  # simulated, from the last failure until every stream was served again


class Simulation:
    """Shards, streams and a director under failures.

    Args:
        streams, shards: how many.
        capacity: streams of a shard; of them the table's `fill` is used.
        seed: of all that happens.
    """

    def __init__(self, streams: int, shards: int, capacity: int, seed: int = 0) -> None:
        self._random = random.Random(seed)
        rows = tuple(
            StreamRow(name=f"s{n}", source=SecretStr(f"http://source/{n}"), priority=n % 3) for n in range(streams)
        )
        self.table = FleetTable(stream=rows, group=(GroupConfig(name="default", shards=shards),))
        self._shards = {f"shard-{n}": _Shard(f"shard-{n}", capacity) for n in range(shards)}
        self.now = 0.0
        self._generation = 1
        self.ledger = Ledger(self.table, self._generation)
        self.outcome = Outcome(streams, shards)
        self._waits: list[float] = []
        self._since: dict[str, float] = {}

    def run(self, seconds: float, failures: Failures) -> Outcome:
        """Run for `seconds` with failures, then without any until all is served again."""
        self._step(failures=None)
        self.outcome.first_full_s = self.outcome.deciding_s
        end = self.now + seconds
        while self.now < end:
            self._step(failures)
        calm = self.now
        while self._idle() and self.now < calm + 600:
            self._step(None)
        found, waits = self.outcome, sorted(self._waits) or [0.0]
        found.converged_s = self.now - calm if not self._idle() else math.nan
        found.simulated_s, found.decisions_per_s = self.now, found.decisions / max(found.deciding_s, 1e-9)
        found.unserved_p50_s, found.unserved_p99_s = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
        found.unserved_longest_s = waits[-1]
        return found

    def _idle(self) -> int:
        return len(self._since)

    def _step(self, failures: Failures | None) -> None:
        self.now += STEP_S
        if failures is not None:
            self._fail(failures)
        began = time.thread_time()
        for shard in self._shards.values():
            self._hear(shard)
        orders = self.ledger.step(self.now)
        took = time.thread_time() - began
        for order in orders:
            self.outcome.decisions += self._carry_out(order)
        self.outcome.deciding_s += took
        self.outcome.slowest_step_s = max(self.outcome.slowest_step_s, took)
        self._fence_themselves()
        self._check()

    def _fail(self, failures: Failures) -> None:
        draw = self._random
        for shard in self._shards.values():
            if shard.dead_until > self.now:
                continue
            if draw.random() < failures.death * STEP_S:
                self.outcome.deaths += 1
                shard.held.clear()
                shard.incarnation += 1
                shard.fenced_at = None
                shard.dead_until = self.now + draw.uniform(*BACK_S)
                self.ledger.lost(shard.name, self.now, certain=True)
            elif draw.random() < failures.hang * STEP_S:
                self.outcome.hangs += 1
                shard.deaf_until = self.now + draw.uniform(*HANGS_S)
            elif draw.random() < failures.slow * STEP_S:
                shard.slow = self.now + draw.uniform(40, 100)
        if draw.random() < failures.director * STEP_S:
            self.outcome.director_deaths += 1
            self._generation += 1
            self.ledger = Ledger(self.table, self._generation, list(self._shards))

    def _reachable(self, shard: _Shard) -> bool:
        return shard.dead_until <= self.now and shard.deaf_until <= self.now

    def _hear(self, shard: _Shard) -> None:
        """Let a shard report, or let the director notice that it does not."""
        if self._reachable(shard):
            shard.reached_at = self.now
            late = frozenset(list(shard.held)[:1]) if shard.slow > self.now else frozenset()
            name, held = shard.name, dict(shard.held)
            report = Report(name, "default", str(shard.incarnation), name, name, shard.capacity, held, late)
            self.ledger.report(report, self.now)
        elif shard.dead_until > self.now:
            self.ledger.lost(shard.name, self.now, certain=True)
        elif self.now - shard.reached_at >= UNREACHABLE_S:
            self.ledger.lost(shard.name, self.now, certain=False)

    def _carry_out(self, order: Serve | Release | Fence | Restart) -> int:
        shard = self._shards[order.shard]
        if isinstance(order, Fence):
            shard.fenced_at = self.now if shard.fenced_at is None else shard.fenced_at
            self.ledger.fenced(order.shard, self.now)
            return 1
        if not self._reachable(shard):
            return 0
        match order:
            case Serve(leases=leases):
                shard.held.update({lease.row.name: lease.epoch for lease in leases})
                return len(leases)
            case Release(streams=streams):
                for name, epoch in streams.items():
                    if shard.held.get(name) == epoch:
                        del shard.held[name]
                self.ledger.released(shard.name, tuple(streams), self.now)
                return len(streams)
        return 1

    def _fence_themselves(self) -> None:
        """Shards look at their fence by themselves, at the latest when they could act no longer without proof."""
        for shard in self._shards.values():
            if shard.fenced_at is not None and self.now - shard.fenced_at >= HOLD_S - STEP_S:
                shard.held.clear()
                shard.incarnation += 1
                shard.fenced_at = None

    def _check(self) -> None:
        """Count who is served twice, and for how long the others are not served."""
        served: set[str] = set()
        for name in self._held():
            self.outcome.served_twice += name in served
            served.add(name)
        for name in self.ledger.streams:
            if name in served:
                if (since := self._since.pop(name, None)) is not None and since > STEP_S:
                    self._waits.append(self.now - since)
            else:
                self._since.setdefault(name, self.now)

    def _held(self) -> Iterator[str]:
        for shard in self._shards.values():
            yield from shard.held


def main() -> None:
    """Run one simulation and print its outcome as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=500)
    parser.add_argument("--capacity", type=int, default=30, help="streams of a shard")
    parser.add_argument("--seconds", type=float, default=300.0, help="of failures, simulated")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    outcome = Simulation(given.streams, given.shards, given.capacity, given.seed).run(given.seconds, Failures())
    print(json.dumps({key: round(value, 4) for key, value in asdict(outcome).items()}, indent=1))


if __name__ == "__main__":
    main()
