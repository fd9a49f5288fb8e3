"""Kill shards, the director and a node again and again, and count what is lost; one table at the end.

    pytest -n 0 -s -m campaign tests/fleet                     # 20 kills of each kind, some 20 minutes
    FLEET_KILLS=5 FLEET_STREAMS=20 pytest -n 0 -s -m campaign tests/fleet -k director

As many streams as fill 60 % of what two shards measure, one in ten of them speaking, over HTTP on loopback.
"""

import json
import math
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from tests.fleet.rig import (
    Ears,
    FleetProgram,
    Heard,
    TwoNodes,
    ends_by_id,
    environment,
    served_twice,
    short_folder,
    sources,
    write_table,
)
from tests.support.real_broker import Mosquitto, eventually

pytestmark = [pytest.mark.campaign, pytest.mark.real]

KILLS = int(os.environ.get("FLEET_KILLS", "20"))
STREAMS = int(os.environ.get("FLEET_STREAMS", "0"))  # 0: 60 % of the capacity measured
SHARE = 0.6
SETTLE_S = 4.0  # between two kills
NODE_S = 30.0  # after which Ray knows that a node is dead
FILL_S = 120.0  # for a quarter of the streams to move to a new node
# Emotions that come and go: short dwell and hang, a low threshold, windows as they are.
CONFIG = "[model]\nthreshold = 0.1\n[tracker]\nenter = 0.2\nexit = 0.15\ndwell_s = 0.0\nhang_s = 0.5\n"


@dataclass
class Losses:
    """What kills of one kind cost."""

    kind: str
    streams: int
    speaking: int
    kills: int = 0
    lost_s: list[float] = field(default_factory=list)  # audio of a stream, each kill
    full_s: list[float] = field(default_factory=list)  # from a stream's last window to its next full one
    unhurt: int = 0  # streams that lost nothing, over all kills
    twice: int = 0
    emotions: int = 0
    not_once: int = 0  # of them, not started once and ended once
    ended_as_lost: int = 0

    def row(self) -> str:
        lost, full = sorted(self.lost_s) or [0.0], sorted(self.full_s) or [0.0]
        p95 = math.ceil(0.95 * len(lost)) - 1
        return (
            f"| {self.kind} | {self.kills} | {self.streams} ({self.speaking}) | {len(self.lost_s)} / {self.unhurt} | "
            f"{median(lost):.1f} / {lost[p95]:.1f} / {lost[-1]:.1f} | {median(full):.1f} / {full[p95]:.1f} / "
            f"{full[-1]:.1f} | {self.twice} | {self.emotions} | {self.ended_as_lost} | {self.not_once} |"
        )


HEAD = (
    "| killed | times | streams (speaking) | hurt / unhurt | audio lost, s: p50 / p95 / most | full window after, s: "
    "p50 / p95 / most | served twice | emotions | ended as lost | not started and ended once |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", ["shard", "director", "node"])
def test_what_a_kill_costs(kind: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        variables = environment(stack.enter_context(short_folder()))
        broker = Mosquitto(tmp_path).start()
        stack.callback(broker.stop)
        ears = Ears(broker.port)
        stack.callback(ears.close)
        (tmp_path / "config.toml").write_text(CONFIG)
        arguments = ["--config", str(tmp_path / "config.toml"), "--mqtt", broker.url]
        nodes = None
        if kind == "node":
            nodes = TwoNodes(variables)
            stack.callback(nodes.close)
            arguments += ["--address", nodes.address]
        shards = 3 if kind == "node" else 2  # a node's death takes its places along: one shard more than is needed
        table = write_table(tmp_path / "FLEET.toml", 9, 1, shards, int(os.environ.get("FLEET_CAPACITY", "0")))
        fleet = FleetProgram(variables, str(table), *arguments)
        stack.callback(fleet.close)
        fleet.until(f"by {shards} of {shards} shards", 240)
        status = json.loads(fleet.command("status", "--json", *arguments[4:]))
        capacity = sorted(shard["capacity"] for shard in status["shards"])
        streams = STREAMS or int(SHARE * sum(capacity[:2]))
        speaking = math.ceil(streams / 10)
        port = stack.enter_context(sources(speaking))
        write_table(table, port, streams, shards, int(os.environ.get("FLEET_CAPACITY", "0")))
        everybody = {f"s{number}" for number in range(streams)}
        eventually(lambda: _full(ears, 0.0) == everybody, 120)
        losses = Losses(kind, streams, speaking)
        for number in range(KILLS):
            _one_kill(kind, number, fleet, nodes, ears, losses, everybody)
        fleet.end()
        time.sleep(2.0)
        losses.twice = len(served_twice(ears.of("window")))
        ends = ends_by_id(ears.of("transition"))
        losses.emotions = len(ends)
        losses.not_once = sum((starts, len(reasons)) != (1, 1) for starts, reasons in ends.values())
        losses.ended_as_lost = sum("lost" in reasons for _, reasons in ends.values())
        print(f"\ncapacities measured: {capacity}\n{HEAD}\n{losses.row()}")
        assert losses.twice == 0
        assert losses.not_once == 0
        assert max(losses.lost_s, default=0.0) <= 10.0
        assert max(losses.full_s, default=0.0) <= 15.0


def _one_kill(
    kind: str,
    number: int,
    fleet: FleetProgram,
    nodes: TwoNodes | None,
    ears: Ears,
    losses: Losses,
    everybody: set[str],
) -> None:
    if nodes is not None:
        _fill_second_node(fleet, nodes, len(everybody) / 4)
        filled_at = time.time()
        eventually(lambda: _full(ears, filled_at) == everybody, 90)
    time.sleep(SETTLE_S)
    killed_at = time.time()
    if nodes is not None:
        nodes.kill()
    else:
        actors = fleet.actors("ShardActor" if kind == "shard" else "DirectorActor")
        actors[number % len(actors)].kill()
    losses.kills += 1
    # Workers outlive their raylet for a while, and Ray takes the node for dead only later: all of it is looked at.
    time.sleep(3.0 if nodes is None else NODE_S)
    since = time.time()
    eventually(lambda: _full(ears, since) == everybody, 90)
    for stream in everybody:
        windows = [one for one in ears.of("window", killed_at - 5.0) if one.stream == stream]
        lost_s, full_s = _loss(windows, killed_at)
        if lost_s < 0.5:
            losses.unhurt += 1
        else:
            losses.lost_s.append(lost_s)
            losses.full_s.append(full_s)
    if nodes is not None:
        nodes.again()
    print(f"{kind} {number}: {max(losses.lost_s, default=0):.1f} s, {max(losses.full_s, default=0):.1f} s", flush=True)


def _fill_second_node(fleet: FleetProgram, nodes: TwoNodes, least: float) -> None:
    """Drain the first node until enough streams are on the second: they stay where a node's death led them."""
    address = ("--address", nodes.address)

    def is_filled() -> bool:
        shards = json.loads(fleet.command("status", "--json", *address))["shards"]
        return sum(one["streams"] for one in shards if one["node"] != nodes.first) >= least

    if is_filled():
        return
    drain = fleet.popen("drain", nodes.first, *address)  # it would wait for the last stream, which finds no room
    try:
        eventually(is_filled, FILL_S)
    finally:
        drain.kill()
        drain.wait(5)
    fleet.command("drain", nodes.first, "--undo", *address)


def _full(ears: Ears, since: float) -> set[str]:
    return {one.stream for one in ears.of("window", since) if not one.message["warming"]}


def _loss(windows: list[Heard], killed_at: float) -> tuple[float, float]:
    """Seconds of audio that are in no window, and from the last window before that gap to the next full one."""
    longest, full_s = 0.0, 0.0
    for before, after in pairwise(windows):
        heard_s = after.message["end_s"] - after.message["start_s"]
        gap = _moment(after) - heard_s - _moment(before)
        if after.at > killed_at and gap > longest:
            full_at = next((one.at for one in windows if one.at >= after.at and not one.message["warming"]), math.inf)
            longest, full_s = gap, full_at - before.at
    return longest, full_s


def _moment(one: Heard) -> float:

    return datetime.fromisoformat(one.message["time"]).timestamp()
