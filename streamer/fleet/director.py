"""The director: carries out what the ledger decides, over whatever reaches the shards."""

import json
import logging
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from streamer.errors import StreamerError
from streamer.fleet.leases import Fence, Lease, Order, Release, Report, Restart, Serve
from streamer.fleet.ledger import Ledger
from streamer.fleet.status import FleetStatus, status_of
from streamer.fleet.table import FleetTable, GroupConfig, TableFile
from streamer.plain_text import sentence

REPORT_S = 1.5  # between two reports of a shard
SOON_S = 0.4  # before a shard that is not there yet is asked again
UNREACHABLE_S = 4.0  # without an answer, after which a shard is fenced
WAIT_S = 0.25  # for answers, each round
START_S = 60.0  # for the shards of a new fleet to measure what they can serve, before streams are spread
FAILED_S = 10.0  # before a shard whose monitor failed is started again
TABLE_S = 2.0  # between two looks at the table on disk

logger = logging.getLogger(__name__)


class ShardGoneError(StreamerError):
    """A shard does not answer. `dead`: it will not come back by itself."""

    def __init__(self, dead: bool) -> None:
        super().__init__("The shard does not answer.")
        self.dead = dead


class Cluster(Protocol):
    """What the director needs of the machines."""

    def start(self, shard: str, group: GroupConfig) -> None:
        """Start a shard, unless there is one of that name."""
        ...

    def stop(self, shard: str, *, again: bool) -> None:
        """End a shard; `again`: it is to be started anew."""
        ...

    def ask(self, shard: str, what: str, *arguments: object) -> Hashable:
        """Call a method of a shard; return what stands for its answer."""
        ...

    def answers(self, within_s: float) -> list[tuple[Hashable, object]]:
        """Return the answers that have come, or the errors: `ShardGoneError`, or what the method raised."""
        ...

    def nodes(self) -> frozenset[str]:
        """Return the ids of the nodes that are known to be alive."""
        ...

    def get(self, key: str) -> str:
        """Return what is kept under `key`, where every node can read it; empty: nothing."""
        ...

    def put(self, key: str, value: str) -> None:
        """Keep a value; an empty one forgets the key."""
        ...


@dataclass(slots=True)
class _Known:
    """A shard that should be there."""

    group: GroupConfig
    asked_at: float | None = None  # for a report that has not come yet
    heard_at: float = 0.0
    next_at: float = 0.0
    releasing: bool = False  # an order to release is on its way
    problem: str = ""  # why its monitor does not run
    surplus: bool = False  # no longer wanted: it is emptied and ended


class Director:
    """One fleet. For one thread, but `status`, which reads.

    Args:
        name: of the fleet.
        table: FLEET.toml or CSV, on this node.
        cluster: carries the orders.
    """

    def __init__(self, name: str, table: Path, cluster: Cluster) -> None:
        self._name, self._cluster = name, cluster
        self._file, self._looked_at = TableFile(table), -TABLE_S
        self.generation = int(cluster.get(f"{name}/generation") or 0) + 1
        cluster.put(f"{name}/generation", str(self.generation))
        self._saved = cluster.get(f"{name}/state")
        self._before = _State.parse(self._saved)
        self._ledger: Ledger | None = None  # until the table could be read once
        self._known: dict[str, _Known] = {}
        self._waiting: dict[Hashable, tuple[str, Order | None]] = {}
        self._stopping = False
        self.errors = 0  # rounds that ended early over a defect

    def tick(self) -> None:
        """Do one round: hear, decide, order."""
        now = time.monotonic()
        self._follow_table(now)
        if self._ledger is None:
            time.sleep(WAIT_S)
            return
        self._ask(now)
        for ticket, answer in self._cluster.answers(WAIT_S):
            if ticket in self._waiting:
                self._take(self._ledger, *self._waiting.pop(ticket), answer, time.monotonic())
        now = time.monotonic()
        for shard, known in self._known.items():
            if known.asked_at is not None and now - known.asked_at >= UNREACHABLE_S and known.heard_at:
                self._ledger.lost(shard, now, certain=False)
        for order in self._ledger.step(now):
            self._carry_out(self._ledger, order, now)
        self._end_surplus(self._ledger, now)
        self._save(self._ledger)

    def status(self) -> FleetStatus:
        """Return what is known now."""
        problems = {shard: known.problem for shard, known in self._known.items()}
        return status_of(self._name, self.generation, self._ledger, problems, self._file.problem)

    def drain(self, node: str, undo: bool = False) -> bool:
        """Empty the shards on a node, by its id or host's name, or end that; return whether any shard is there."""
        if self._ledger is None:
            return False
        places = [shard.report for shard in self._ledger.shards.values()]
        if undo:
            self._ledger.cordoned.discard(node)
        else:
            self._ledger.cordoned.add(node)
        return any(node in (report.node, report.host) for report in places)

    def restart(self) -> None:
        """Restart all shards, one after the other."""
        if self._ledger is not None:
            self._ledger.rolling.begin(self._ledger.shards)

    def stop(self) -> list[str]:
        """Forget the fleet; return its shards, which the caller ends."""
        for key in ("generation", "state"):
            self._cluster.put(f"{self._name}/{key}", "")
        return list(self._known)

    # Hearing.

    def _follow_table(self, now: float) -> None:
        if now - self._looked_at < TABLE_S:
            return
        self._looked_at = now
        table = self._file.changed()
        if table is None:
            return
        if self._ledger is None:
            self._ledger = Ledger(table, self.generation, self._before.shards)
            self._ledger.cordoned |= set(self._before.cordoned)
            for shard in self._before.shards:  # also those that nobody wants any more
                self._known[shard] = _Known(self._before.group_of(shard, table), heard_at=now)
        else:
            self._ledger.follow(table, now)
        self._want(table)
        if not self._before.shards and self._ledger.awaited_until < 0:
            self._ledger.awaited, self._ledger.awaited_until = set(self._known), now + START_S

    def _want(self, table: FleetTable) -> None:
        """Have as many shards as the table says."""
        wanted = {
            f"{self._name}-{group.name}-{number}": group
            for group in table.groups.values()
            for number in range(group.shards)
        }
        for shard, known in self._known.items():
            known.surplus = shard not in wanted
        for shard, group in wanted.items():
            self._known.setdefault(shard, _Known(group)).group = group
            self._cluster.start(shard, group)

    def _ask(self, now: float) -> None:
        for shard, known in self._known.items():
            if known.asked_at is None and now >= known.next_at:
                self._send(shard, None, "report")
                known.asked_at, known.next_at = now, now + REPORT_S

    def _send(self, shard: str, order: Order | None, what: str, *arguments: object) -> None:
        self._waiting[self._cluster.ask(shard, what, self.generation, *arguments)] = (shard, order)

    def _take(self, ledger: Ledger, shard: str, order: Order | None, answer: object, now: float) -> None:
        """Take an answer to an order, or to the wish for a report."""
        known = self._known.get(shard)
        if known is None:
            return
        if order is None:
            known.asked_at = None
        if isinstance(order, Release):
            known.releasing = False
        if isinstance(answer, ShardGoneError):
            ledger.lost(shard, now, certain=False)
            known.next_at = now + SOON_S
            if answer.dead:
                self._cluster.start(shard, known.group)
            return
        known.heard_at = now
        if order is None and answer is None:  # it loads
            known.next_at = now + SOON_S
        if isinstance(answer, Exception):
            self._fail(ledger, shard, known, answer, now)
        elif isinstance(answer, Report):
            known.problem = ""
            self._hear(ledger, known, answer, now)
        elif isinstance(order, Serve) and isinstance(answer, Mapping):
            ledger.refused(shard, answer, now)
        elif isinstance(order, Release) and isinstance(answer, tuple):
            ledger.released(shard, answer, now)

    def _fail(self, ledger: Ledger, shard: str, known: _Known, error: Exception, now: float) -> None:
        """Start a shard anew whose monitor does not run, though the process does."""
        known.problem = sentence(error)
        logger.warning("%s: %s", shard, known.problem)
        ledger.lost(shard, now, certain=False)
        known.next_at = now + FAILED_S
        self._cluster.stop(shard, again=True)

    def _hear(self, ledger: Ledger, known: _Known, report: Report, now: float) -> None:
        if known.group.streams:
            report = replace(report, capacity=known.group.streams)
        before = ledger.shards.get(report.shard)
        if before is None or before.report.incarnation != report.incarnation:
            self._cluster.put(f"{self._name}/incarnation/{report.shard}", report.incarnation)
            self._cluster.put(f"{self._name}/capacity/{report.shard}", f"{report.node} {report.capacity}")
            if before is not None:
                # Ray starts a shard again only when it holds the former for dead. Where that one's node is alive, its
                # process was seen to end; else it may only be out of reach, and must find its fence.
                ledger.lost(report.shard, now, certain=before.report.node in self._cluster.nodes())
        ledger.report(report, now)

    # Ordering.

    def _carry_out(self, ledger: Ledger, order: Order, now: float) -> None:
        known = self._known.get(order.shard)
        if known is None:
            return
        match order:
            case Serve(shard, leases):
                self._send(shard, order, "serve", _plain(leases))
            case Release(shard, streams) if not known.releasing:
                known.releasing = True
                self._send(shard, order, "release", dict(streams))
            case Fence(shard, incarnation):
                incarnation = incarnation or self._cluster.get(f"{self._name}/incarnation/{shard}")
                logger.warning("%s does not answer and is fenced.", shard)
                self._cluster.put(f"{self._name}/fence/{incarnation}", "1")
                ledger.fenced(shard, time.monotonic())
            case Restart(shard):
                self._cluster.stop(shard, again=True)

    def _end_surplus(self, ledger: Ledger, now: float) -> None:
        """Empty and end the shards that nobody wants any more."""
        for shard in [shard for shard, known in self._known.items() if known.surplus]:
            ledger.surplus.add(shard)
            record = ledger.shards.get(shard)
            if record is not None and record.answers and not record.streams:
                self._cluster.stop(shard, again=False)
                ledger.forget(shard, now)
                ledger.surplus.discard(shard)
                del self._known[shard]

    def _save(self, ledger: Ledger) -> None:
        state = _State(
            {shard: known.group.name for shard, known in self._known.items()}, sorted(ledger.cordoned)
        ).text()
        if state != self._saved:
            self._cluster.put(f"{self._name}/state", state)
            self._saved = state


def _plain(leases: tuple[Lease, ...]) -> list[Lease]:
    return list(leases)


@dataclass(frozen=True, slots=True)
class _State:
    """What a director leaves to the next."""

    shards: dict[str, str]  # name → group
    cordoned: list[str]

    @classmethod
    def parse(cls, text: str) -> "_State":
        found = json.loads(text) if text else {}
        return cls(found.get("shards", {}), found.get("cordoned", []))

    def text(self) -> str:
        return json.dumps({"shards": self.shards, "cordoned": self.cordoned}, sort_keys=True)

    def group_of(self, shard: str, table: FleetTable) -> GroupConfig:
        """Return the group of a shard, as the table has it."""
        name = self.shards[shard]
        return table.groups.get(name) or GroupConfig(name=name)
