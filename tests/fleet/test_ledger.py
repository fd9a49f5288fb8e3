"""The director's decisions: placement, losses, fences, moves, recovery. Time is a number."""

from collections.abc import Mapping
from itertools import pairwise

import pytest
from pydantic import SecretStr

from streamer.fleet.leases import HOLD_S, Epoch, Fence, Order, Release, Report, Restart, Serve
from streamer.fleet.ledger import LIMIT_S, Ledger
from streamer.fleet.table import FleetConfig, FleetTable, GroupConfig, StreamRow


def row(name: str, priority: int = 0, group: str = "default", source: str = "http://a.lan") -> StreamRow:
    return StreamRow(name=name, source=SecretStr(source), priority=priority, group=group)


def table_of(*rows: StreamRow) -> FleetTable:
    groups = tuple(GroupConfig(name=name) for name in sorted({one.group for one in rows}))
    return FleetTable(fleet=FleetConfig(behind_s=30), group=groups, stream=rows)


def rows_of(count: int) -> list[StreamRow]:
    return [row(f"s{number:02}") for number in range(count)]


class Fleet:
    """A ledger, and shards that do what it says at once."""

    def __init__(self, table: FleetTable, capacities: Mapping[str, int], group: str = "default") -> None:
        self.ledger = Ledger(table)
        self.now = 0.0
        self.capacities = dict(capacities)
        self.group = group
        self.held: dict[str, dict[str, Epoch]] = {name: {} for name in capacities}
        self.incarnations = dict.fromkeys(capacities, "a")
        self.behind: dict[str, frozenset[str]] = {}
        self.silent: set[str] = set()  # shards that do not report

    def report(self, name: str) -> None:
        self.ledger.report(
            Report(
                name, self.group, self.incarnations[name], f"node-{name}", f"host-{name}", self.capacities[name],
                dict(self.held[name]), self.behind.get(name, frozenset()),
            ),
            self.now,
        )  # fmt: skip

    def step(self, seconds: float = 1.0) -> list[Order]:
        self.now += seconds
        for name in self.capacities:
            if name not in self.silent:
                self.report(name)
        orders = self.ledger.step(self.now)
        for order in orders:
            if order.shard in self.silent:
                continue
            match order:
                case Serve(shard, leases):
                    self.held[shard].update({lease.row.name: lease.epoch for lease in leases})
                case Release(shard, streams):
                    for name, epoch in streams.items():
                        if self.held[shard].get(name) == epoch:
                            del self.held[shard][name]
                    self.ledger.released(shard, tuple(streams), self.now)
                case Restart(shard):
                    self.die(shard)
        served = [name for held in self.held.values() for name in held]
        assert len(served) == len(set(served)), "a stream is served twice"
        return orders

    def steps(self, count: int) -> list[Order]:
        return [order for _ in range(count) for order in self.step()]

    def die(self, name: str) -> None:
        self.held[name] = {}
        self.incarnations[name] += "a"
        self.ledger.lost(name, self.now, certain=True)

    def unserved(self) -> dict[str, str]:
        return {stream.row.name: stream.reason for stream in self.ledger.unserved()}


def test_shards_are_filled_evenly_to_four_fifths_and_the_rest_is_unserved_with_a_reason() -> None:
    fleet = Fleet(table_of(*rows_of(20)), {"a": 10, "b": 10})
    fleet.steps(2)
    assert {name: len(held) for name, held in fleet.held.items()} == {"a": 8, "b": 8}
    assert set(fleet.unserved().values()) == {"no shard of the group 'default' has room"}
    assert len(fleet.unserved()) == 4
    assert all(stream.tries >= 2 for stream in fleet.ledger.unserved())
    fleet.capacities["c"] = 10
    fleet.held["c"], fleet.incarnations["c"] = {}, "a"
    fleet.step()
    assert fleet.unserved() == {}
    assert len(fleet.held["c"]) == 4


def test_a_new_fleet_waits_for_its_shards_for_a_while() -> None:
    fleet = Fleet(table_of(*rows_of(4)), {"a": 10, "b": 10})
    fleet.ledger.awaited, fleet.ledger.awaited_until = {"a", "b", "never"}, 60.0
    fleet.silent = {"b"}
    fleet.steps(5)
    assert len(fleet.unserved()) == 4
    fleet.silent = set()
    fleet.ledger.awaited = {"a", "b"}
    fleet.step()
    assert {name: len(held) for name, held in fleet.held.items()} == {"a": 2, "b": 2}
    late = Fleet(table_of(*rows_of(4)), {"a": 10})
    late.ledger.awaited, late.ledger.awaited_until = {"a", "never"}, 60.0
    late.steps(61)
    assert late.unserved() == {}


def test_a_shard_that_can_serve_one_stream_serves_one_and_one_that_can_serve_none_none() -> None:
    fleet = Fleet(table_of(*rows_of(3)), {"a": 1, "b": 0})
    fleet.steps(2)
    assert {name: len(held) for name, held in fleet.held.items()} == {"a": 1, "b": 0}


def test_streams_go_to_shards_of_their_group_only() -> None:
    fleet = Fleet(table_of(row("x", group="gpu"), row("y")), {"a": 5}, group="gpu")
    fleet.steps(2)
    assert set(fleet.held["a"]) == {"x"}
    assert set(fleet.unserved()) == {"y"}


def test_the_streams_of_a_dead_shard_go_to_others_with_room_at_once() -> None:
    fleet = Fleet(table_of(*rows_of(8)), {"a": 10, "b": 10})
    fleet.steps(2)
    fleet.silent = {"a"}
    fleet.die("a")
    fleet.step()
    assert len(fleet.held["b"]) == 8
    assert fleet.ledger.counters.lost == 4


def test_the_most_important_streams_are_served_first_and_take_the_places_of_others() -> None:
    fleet = Fleet(table_of(*rows_of(4)), {"a": 5})
    fleet.steps(2)
    fleet.ledger.follow(table_of(*rows_of(4), row("urgent", 9)), fleet.now)
    fleet.steps(3)
    assert "urgent" in fleet.held["a"]
    assert len(fleet.held["a"]) == 4
    (reason,) = fleet.unserved().values()
    assert reason == "urgent has a higher priority, and no shard of the group 'default' has room"


def test_a_shard_that_does_not_answer_is_fenced_and_its_streams_wait_until_it_is_silent_by_itself() -> None:
    fleet = Fleet(table_of(*rows_of(4)), {"a": 10, "b": 10})
    fleet.steps(2)
    fleet.silent = {"a"}
    fleet.ledger.lost("a", fleet.now, certain=False)
    assert fleet.step(0.1) == [Fence("a", "a")]
    assert Fence("a", "a") in fleet.step(0.1), "it is repeated until it stands"
    fleet.ledger.fenced("a", fleet.now)
    assert fleet.step(HOLD_S - 0.1) == []
    fleet.held["a"] = {}  # it found the fence
    fleet.step(0.2)
    assert len(fleet.held["b"]) == 4


def test_a_fenced_shard_that_comes_back_as_it_was_is_not_believed_and_as_another_it_is() -> None:
    fleet = Fleet(table_of(*rows_of(4)), {"a": 10, "b": 10})
    fleet.steps(2)
    fleet.silent = {"a"}
    fleet.ledger.lost("a", fleet.now, certain=False)
    fleet.ledger.fenced("a", fleet.now)
    fleet.report("a")
    fleet.held["a"] = {}
    fleet.step(HOLD_S)
    assert len(fleet.held["b"]) == 4
    fleet.report("a")
    assert not fleet.ledger.shards["a"].answers
    fleet.incarnations["a"] = "again"
    fleet.report("a")
    assert fleet.ledger.shards["a"].answers


def test_what_a_shard_holds_without_a_lease_is_taken_from_it() -> None:
    fleet = Fleet(table_of(*rows_of(2)), {"a": 10, "b": 10})
    fleet.steps(2)
    (name,) = fleet.held["a"]
    fleet.held["a"]["stranger"] = (1, 77)
    fleet.held["b"][name] = (0, 1)  # an old lease
    fleet.now += 1
    fleet.report("a")
    fleet.report("b")
    assert fleet.ledger.step(fleet.now) == [Release("a", {"stranger": (1, 77)}), Release("b", {name: (0, 1)})]


def test_what_a_shard_no_longer_holds_is_given_anew() -> None:
    fleet = Fleet(table_of(*rows_of(1)), {"a": 10})
    fleet.steps(2)
    fleet.held["a"] = {}
    fleet.step()
    assert set(fleet.held["a"]) == {"s00"}
    assert fleet.ledger.streams["s00"].epoch == (1, 2)


def test_a_shard_behind_for_thirty_seconds_gives_a_tenth_away_and_gets_no_more_for_a_while() -> None:
    fleet = Fleet(table_of(*rows_of(12), row("precious", 3)), {"a": 20, "b": 20})
    fleet.steps(2)
    assert len(fleet.held["a"]) == 7
    fleet.behind["a"] = frozenset(["s00"])
    fleet.steps(28)
    assert len(fleet.held["a"]) == 7
    fleet.steps(5)
    assert (len(fleet.held["a"]), len(fleet.held["b"])) == (6, 7)
    assert fleet.ledger.counters.moved == 1
    assert "precious" in {**fleet.held["a"], **fleet.held["b"]}
    fleet.behind = {}
    fleet.ledger.follow(table_of(*rows_of(30)), fleet.now)
    fleet.steps(3)
    assert len(fleet.held["a"]) == 6
    fleet.step(LIMIT_S)
    fleet.steps(2)
    assert len(fleet.held["a"]) == 14


def test_where_nobody_has_room_a_shard_that_is_behind_keeps_its_streams() -> None:
    fleet = Fleet(table_of(*rows_of(16)), {"a": 10, "b": 10})
    fleet.steps(2)
    fleet.behind["a"] = frozenset(["s00"])
    fleet.steps(60)
    assert {name: len(held) for name, held in fleet.held.items()} == {"a": 8, "b": 8}


def test_a_new_director_adopts_what_shards_report_and_gives_nothing_away_before() -> None:
    fleet = Fleet(table_of(*rows_of(6)), {"a": 10, "b": 10})
    fleet.steps(2)
    before = {name: dict(held) for name, held in fleet.held.items()}
    fleet.ledger = Ledger(fleet.ledger.table, 2, ["a", "b"])
    fleet.silent = {"b"}
    assert fleet.step() == []
    assert fleet.ledger.is_recovering
    fleet.silent = set()
    assert fleet.step() == []
    assert fleet.held == before
    assert fleet.unserved() == {}
    fleet.die("b")
    fleet.steps(1)
    assert {epoch[0] for epoch in fleet.held["a"].values()} <= {1, 2}
    assert fleet.unserved() == {}


def test_a_new_director_fences_a_shard_that_it_never_heard_before_it_gives_its_streams_away() -> None:
    fleet = Fleet(table_of(*rows_of(6)), {"a": 10, "b": 10})
    fleet.steps(2)
    fleet.ledger = Ledger(fleet.ledger.table, 2, ["a", "b"])
    fleet.silent = {"b"}
    fleet.step()
    fleet.ledger.lost("b", fleet.now, certain=False)
    assert fleet.step() == [Fence("b", "")]
    fleet.ledger.fenced("b", fleet.now)
    assert fleet.step(HOLD_S - 1) == []
    fleet.held["b"] = {}
    fleet.step(1)
    assert len(fleet.held["a"]) == 6


def test_a_refused_stream_is_tried_again_later_and_later_with_the_reason_shown() -> None:
    fleet = Fleet(table_of(*rows_of(1)), {"a": 10})
    fleet.step()
    tries = []
    for _ in range(80):
        if fleet.held["a"]:
            fleet.held["a"].clear()
            tries.append(fleet.now)
            fleet.ledger.refused("a", {"s00": "its password file is missing"}, fleet.now)
            assert fleet.unserved() == {"s00": "its password file is missing"}
        fleet.step()
    gaps = [after - before for before, after in pairwise(tries)]
    assert gaps == [2, 4, 8, 16, 32]


def test_a_drained_node_is_emptied_bit_by_bit_and_what_finds_no_room_stays_on_it() -> None:
    fleet = Fleet(table_of(*rows_of(12)), {"a": 20, "b": 10})
    fleet.steps(2)
    fleet.held["a"].clear()
    fleet.steps(2)
    before = len(fleet.held["a"])
    assert before > 2
    fleet.ledger.cordoned.add("host-a")
    at_once = [len(order.streams) for order in fleet.steps(1) if isinstance(order, Release)]
    assert at_once == [1]
    fleet.steps(20)
    assert len(fleet.held["b"]) == 8
    assert len(fleet.held["a"]) == 4
    fleet.ledger.cordoned.clear()
    fleet.steps(5)
    assert fleet.unserved() == {}


def test_a_row_that_changes_is_opened_anew_one_that_goes_is_ended_and_another_priority_disturbs_nobody() -> None:
    fleet = Fleet(table_of(*rows_of(3)), {"a": 10})
    fleet.steps(2)
    before = dict(fleet.held["a"])
    fleet.ledger.follow(table_of(row("s00", 5), row("s01", source="http://b.lan")), fleet.now)
    fleet.steps(2)
    assert fleet.held["a"]["s00"] == before["s00"]
    assert fleet.held["a"]["s01"] > before["s01"]
    assert "s02" not in fleet.held["a"]


@pytest.mark.parametrize("count", [8, 16])
def test_a_rolling_restart_has_one_shard_down_at_a_time_whether_others_have_room_or_not(count: int) -> None:
    fleet = Fleet(table_of(*rows_of(count)), {"a": 10, "b": 10})
    fleet.steps(2)
    fleet.ledger.rolling.begin(fleet.ledger.shards)
    restarted = []
    for _ in range(60):
        for order in fleet.step():
            if isinstance(order, Restart):
                restarted.append(order.shard)
                fleet.silent = {order.shard}
                fleet.steps(4)
                assert [name for name, shard in fleet.ledger.shards.items() if not shard.answers] == [order.shard]
                fleet.silent = set()
    assert restarted == ["a", "b"]
    assert fleet.ledger.rolling.left == 0
    assert fleet.unserved() == {}


def test_a_rolling_restart_waits_while_another_shard_is_down() -> None:
    fleet = Fleet(table_of(*rows_of(4)), {"a": 10, "b": 10})
    fleet.steps(2)
    fleet.silent = {"b"}
    fleet.die("b")
    fleet.ledger.rolling.begin(fleet.ledger.shards)
    assert not any(isinstance(order, Restart) for order in fleet.steps(10))
    fleet.silent = set()
    assert any(isinstance(order, Restart) for order in fleet.steps(10))
