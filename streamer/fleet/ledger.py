"""Which shard serves which stream: pure decisions over reports and time, without Ray, threads or clocks.

A stream has at most one lease. It is given anew only when its shard has confirmed that it let go, is known to be dead,
or was fenced for longer than a shard acts without proof (`HOLD_S`). Times are seconds on the caller's monotonic clock.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping

from streamer.fleet.leases import HOLD_S, Epoch, Fence, Lease, Order, Release, Report, Restart, Serve
from streamer.fleet.places import Places
from streamer.fleet.rolling import Rolling
from streamer.fleet.states import Counters, Shard, Stream
from streamer.fleet.table import FleetTable, StreamRow

MOVING_SHARE = 0.1  # of a shard's streams, that are moved off it at once: each is silent for some seconds
LIMIT_S = 600.0  # for which a shard that was behind gets no more streams than it kept
MOST_WAIT_S = 60.0  # before a stream that a shard refused is tried again
UNCONFIRMED_S = 20.0  # a lease that its shard does not report by then has failed


class Ledger:
    """Decides; the caller carries out what `step` returns, and tells what came of it.

    Args:
        table: the streams and groups.
        generation: of the director, greater than that of any before it.
        unheard: shards that were there before this director, and may hold leases. Nothing is given away until each has
            reported or is lost.
    """

    def __init__(self, table: FleetTable, generation: int = 1, unheard: Iterable[str] = ()) -> None:
        self.table = table
        self.streams = {row.name: Stream(row, waits_since=0.0) for row in table.stream}
        self.shards: dict[str, Shard] = {}
        self.counters = Counters()
        self.cordoned: set[str] = set()  # ids or names of nodes that get no more streams
        self.surplus: set[str] = set()  # shards that are to be emptied
        self.rolling = Rolling()
        self.awaited: set[str] = set()  # shards of a new fleet: streams are spread over them once they are there
        self.awaited_until = -math.inf  # and not waited for longer
        self._generation, self._given = generation, 0
        self._unheard: dict[str, float | None] = dict.fromkeys(unheard)  # when they are void; None: not fenced
        self._stray: dict[str, dict[str, Epoch]] = {}  # shard → what it holds and should not
        self._gone: dict[str, Stream] = {}  # no longer in the table, and not let go of yet

    # What the caller learns.

    def follow(self, table: FleetTable, now: float) -> None:
        """Have another table from now on."""
        self.table = table
        rows = {row.name: row for row in table.stream}
        for name in [name for name in self.streams if name not in rows]:
            stream = self.streams.pop(name)
            stream.drop_place()
            if stream.shard is not None:
                stream.leave("it is no longer in the table")
                self._gone[name] = stream
        for name, row in rows.items():
            known = self._gone.pop(name, None) or self.streams.get(name)
            stream = self.streams[name] = known or Stream(row, waits_since=now)
            if stream.row != row:
                if stream.shard is not None and _differs(stream.row, row):
                    stream.leave("its row in the table has changed")
                stream.row, stream.not_before = row, -math.inf

    def report(self, report: Report, now: float) -> None:
        """Take in what a shard says of itself. That it has another incarnation proves that the former one is over."""
        self._unheard.pop(report.shard, None)
        shard = self.shards.get(report.shard)
        if shard is not None and shard.report.incarnation != report.incarnation:
            if shard.free_at is not None and now < shard.free_at:
                return  # the fence does not stand yet
            self._free(shard, now)
            shard = None
        if shard is None:
            shard = self.shards[report.shard] = Shard(report)
        elif shard.free_at is not None:
            return  # fenced: this incarnation is over
        shard.report, shard.is_up = report, True
        if not report.behind:
            shard.behind_since = None
        elif shard.behind_since is None:
            shard.behind_since = now
        self._reconcile(shard, now)

    def lost(self, name: str, now: float, *, certain: bool) -> None:
        """Note that a shard does not answer. `certain`: its process is known to be dead."""
        shard = self.shards.get(name)
        if shard is None:
            if name in self._unheard:
                self._unheard[name] = now if certain else self._unheard[name] or math.inf
            return
        shard.is_up = False
        if certain:
            self._free(shard, now)
        elif shard.free_at is None:
            shard.free_at = math.inf
            self.counters.fenced += 1

    def fenced(self, name: str, now: float) -> None:
        """Note that the fence of a shard stands where it looks."""
        if self._unheard.get(name) == math.inf:
            self._unheard[name] = now + HOLD_S
        if (shard := self.shards.get(name)) is not None and shard.free_at == math.inf:
            shard.free_at = now + HOLD_S

    def forget(self, name: str, now: float) -> None:
        """Forget a shard that is gone for good."""
        self.lost(name, now, certain=True)
        self.shards.pop(name, None)

    def released(self, name: str, streams: Collection[str], now: float) -> None:
        """Note that a shard has ended streams."""
        shard = self.shards.get(name)
        for stream_name in streams:
            self._stray.get(name, {}).pop(stream_name, None)
            stream = self._gone.pop(stream_name, None) or self.streams.get(stream_name)
            if shard is not None and stream is not None and stream.shard is shard:
                self.counters.moved += stream.target is not None
                stream.wait(now, stream.reason)
                stream.orphaned = False

    def refused(self, name: str, reasons: Mapping[str, str], now: float) -> None:
        """Note that a shard cannot serve streams, and why."""
        for stream_name, reason in reasons.items():
            stream = self.streams.get(stream_name)
            if stream is not None and stream.shard is not None and stream.shard.name == name:
                self.counters.refused += 1
                stream.refusals += 1
                stream.wait(now, reason)
                stream.not_before = now + min(MOST_WAIT_S, 2.0**stream.refusals)

    # What is to be done.

    def step(self, now: float) -> list[Order]:
        """Return what is to be done now. Fences and releases are repeated until they are confirmed."""
        self._let_go(now)
        places = Places(self._open_shards(), self.table.fleet.fill)
        self._relieve(places, now)
        self._empty_shards(places)
        orders: list[Order] = [*self._fences()]
        restart = self.rolling.step(
            self.shards, not self.is_recovering and all(s.answers for s in self.shards.values())
        )
        if restart is not None:
            orders.append(Restart(restart))
        if not self.is_recovering and not (self.awaited - self.shards.keys() and now < self.awaited_until):
            self._outrank(places, now)
            orders += self._place(places, now)
        return orders + self._releases()

    @property
    def is_recovering(self) -> bool:
        """Whether shards of an earlier director have not reported yet."""
        return bool(self._unheard)

    def unserved(self) -> Iterator[Stream]:
        """Yield the streams that no shard serves."""
        return (stream for stream in self.streams.values() if stream.shard is None)

    def is_cordoned(self, shard: Shard) -> bool:
        """Whether a shard is to be emptied, or its node."""
        return shard.name in self.surplus or bool({shard.report.node, shard.report.host} & self.cordoned)

    # How.

    def _let_go(self, now: float) -> None:
        """Void what is over by now."""
        self._unheard = {name: at for name, at in self._unheard.items() if at is None or at > now}
        for shard in self.shards.values():
            if shard.free_at is not None and now >= shard.free_at:
                self._free(shard, now)
            if now >= shard.limit_until:
                shard.limit = None

    def _fences(self) -> Iterator[Fence]:
        for name, shard in self.shards.items():
            if shard.free_at == math.inf:
                yield Fence(name, shard.report.incarnation)
        yield from (Fence(name, "") for name, at in self._unheard.items() if at == math.inf)

    def _open_shards(self) -> list[Shard]:
        return [
            shard
            for shard in self.shards.values()
            if shard.answers
            and shard.behind_since is None
            and not self.is_cordoned(shard)
            and not self.rolling.holds(shard.name)
        ]

    def _reconcile(self, shard: Shard, now: float) -> None:
        """Adopt, confirm or call back what the shard holds, and take back what it does not."""
        held, stray = shard.report.held, self._stray.setdefault(shard.name, {})
        stray.clear()
        for name, epoch in held.items():
            stream = self.streams.get(name) or self._gone.get(name)
            if stream is not None and stream.shard is None and stream.epoch < epoch < (self._generation, 0):
                stream.lease(shard, epoch, now)  # given by an earlier director
            if stream is None or stream.shard is not shard or stream.epoch != epoch:
                stray[name] = epoch
            else:
                stream.confirmed, stream.refusals = True, 0
        for name, stream in list(shard.streams.items()):
            if name not in held and (stream.confirmed or now - stream.leased_at > UNCONFIRMED_S):
                stream.wait(now, "its shard let go of it")
                stream.orphaned = True
                self._gone.pop(name, None)

    def _free(self, shard: Shard, now: float) -> None:
        """Void all leases of a shard that acts on none of them any more."""
        self.counters.lost += len(shard.streams)
        for name, stream in list(shard.streams.items()):
            stream.drop_place()
            stream.wait(now, f"its shard {shard.name} was lost")
            stream.orphaned = True
            self._gone.pop(name, None)
        shard.is_up = False
        self._stray.pop(shard.name, None)

    def _relieve(self, places: Places, now: float) -> None:
        """Move a tenth of the streams off each shard that has been behind for long, those of the least priority."""
        for shard in self.shards.values():
            since = shard.behind_since
            if since is None or now - since < self.table.fleet.behind_s or not shard.answers:
                continue
            moved = self._move(places, shard, "its shard was behind")
            if moved:
                shard.limit, shard.limit_until = len(shard.streams) - moved, now + LIMIT_S
                shard.behind_since = now

    def _empty_shards(self, places: Places) -> None:
        """Move streams off shards whose node is to be emptied, or that are to be restarted."""
        for shard in self.shards.values():
            if shard.answers and (self.is_cordoned(shard) or self.rolling.holds(shard.name)):
                self._move(places, shard, "its shard is being emptied")

    def _move(self, places: Places, shard: Shard, reason: str) -> int:
        """Let a tenth of a shard's streams leave, as far as others have room; return how many."""
        leaving = sum(stream.leaving for stream in shard.streams.values())
        most = math.ceil(MOVING_SHARE * len(shard.streams)) - leaving
        if most <= 0:
            return 0
        moved = 0
        for stream in sorted(shard.streams.values(), key=lambda stream: stream.row.priority):
            if stream.leaving or not stream.confirmed:
                continue
            if moved == most or (target := places.take(stream.row.group, other_than=shard)) is None:
                break
            stream.leave(reason, target)
            moved += 1
        return moved

    def _outrank(self, places: Places, now: float) -> None:
        """Let streams take the places of less important ones where there is no room."""
        served: dict[str, list[Stream]] = {}
        for stream in self._waiting(now):
            group = stream.row.group
            if stream.target is not None or places.has_room(group):
                continue
            if group not in served:
                of_group = [s for s in self.streams.values() if s.row.group == group and s.shard and not s.leaving]
                served[group] = sorted(of_group, key=lambda s: -s.row.priority)
            if not served[group] or served[group][-1].row.priority >= stream.row.priority:
                continue
            outranked = served[group].pop()
            assert outranked.shard is not None
            if outranked.shard.answers:
                outranked.leave(f"{stream.row.name} has a higher priority")
                stream.keep(outranked.shard)

    def _waiting(self, now: float) -> list[Stream]:
        """Return the streams that wait, the most important first."""
        waiting = [stream for stream in self.unserved() if stream.not_before <= now]
        return sorted(waiting, key=lambda stream: (-stream.row.priority, stream.waits_since or 0.0))

    def _place(self, places: Places, now: float) -> list[Serve]:
        """Give the waiting streams leases where there is room."""
        given: dict[str, list[Lease]] = {}
        open_shards = set(map(id, self._open_shards()))
        for stream in self._waiting(now):
            kept = stream.target
            if kept is not None and id(kept) in open_shards:
                if not places.fits(kept):
                    if not any(other.leaving for other in kept.streams.values()):
                        stream.drop_place()
                    continue  # who has its place has not left yet
                shard: Shard | None = kept
            else:
                stream.drop_place()
                shard = places.take(stream.row.group)
            if shard is None:
                stream.find_no_place()
                continue
            self._given += 1
            self.counters.leases += 1
            stream.lease(shard, (self._generation, self._given), now)
            given.setdefault(shard.name, []).append(Lease(stream.row, stream.epoch, stream.orphaned))
        return [Serve(shard, tuple(leases)) for shard, leases in given.items()]

    def _releases(self) -> list[Release]:
        due: dict[str, dict[str, Epoch]] = {name: dict(stray) for name, stray in self._stray.items() if stray}
        for stream in [*self.streams.values(), *self._gone.values()]:
            if stream.leaving and stream.shard is not None and stream.shard.answers:
                due.setdefault(stream.shard.name, {})[stream.row.name] = stream.epoch
        return [Release(shard, streams) for shard, streams in due.items()]


def _differs(before: StreamRow, after: StreamRow) -> bool:
    """Whether a stream must be opened anew."""
    return before.model_copy(update={"priority": after.priority}) != after
