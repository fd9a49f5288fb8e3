"""The bodies of `streamer fleet run` and `streamer fleet drain`."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from streamer.commands.hangup import on_hangup
from streamer.commands.stderr import notice
from streamer.errors import StreamerError, UsageError
from streamer.fleet.table import FleetTable, read_table, readable_by_others

if TYPE_CHECKING:
    from types import FrameType

    from streamer.fleet.status import FleetStatus
    from streamer.settings import Settings

LOOK_S = 1.0
START_S = 90.0  # for the director's process
DRAIN_S = 600.0


def run_fleet(path: Path, settings: Settings, address: str | None, *, detach: bool) -> None:
    """Start the fleet of a table, and with `detach` return; else say what happens to it until Ctrl-C or SIGTERM.

    Raises:
        UsageError: the table or a setting cannot be used.
        StreamerError: Ray, the broker or the director cannot be reached.
    """
    path = path.expanduser().absolute()
    table = read_table(path)
    for file in readable_by_others(path, table):
        notice(f"{file} holds passwords or tokens and can be read by other users; chmod 600 {file} keeps them out.")
    address = address or os.environ.get("RAY_ADDRESS") or None
    if detach and address is None:
        raise UsageError("--detach leaves a fleet on a cluster that goes on; name it with --address.")
    _check_broker(settings, address, detach=detach)
    with ExitStack() as stack:
        tables = _tables(settings, address, stack)
        from streamer.commands.fleet_parts import PARTS
        from streamer.fleet.actors import ask_director, start_director, stop_fleet
        from streamer.fleet.cluster import connected

        stack.enter_context(connected(address))
        director = start_director(PARTS, table.fleet.name, path, tables)
        try:
            status = ask_director(director, "status", patience_s=START_S)
            if detach:
                notice(f"The fleet {status.name} runs: {status.sentence}.")
                return
            _follow(director, table)
        finally:
            if not detach:
                with suppress(StreamerError):  # whoever ended us may have ended Ray's processes, too
                    stop_fleet(table.fleet.name, director)


def drain_node(node: str, address: str | None, name: str, *, undo: bool) -> None:
    """Empty a node, and wait until that is done.

    Raises:
        StreamerError: no shard is there, or streams stay since nobody else has room.
    """
    from streamer.fleet.actors import ask_director, find_director
    from streamer.fleet.cluster import connected

    with connected(address or "auto"):
        director = find_director(name)
        if not ask_director(director, "drain", node, undo):
            hosts = sorted({shard.host for shard in ask_director(director, "status").shards if shard.host})
            raise StreamerError(f"No shard is on a node {node!r}; the hosts are {', '.join(hosts) or 'not known yet'}.")
        if undo:
            print(f"{node} may have streams again.")
            return
        left, since, end = -1, time.monotonic(), time.monotonic() + DRAIN_S
        while time.monotonic() < end:
            status = ask_director(director, "status")
            now = sum(shard.streams for shard in status.shards if node in (shard.host, shard.node))
            if now == 0:
                print(f"{node} is empty and gets no more streams; `streamer fleet drain {node} --undo` ends that.")
                return
            if now != left:
                notice(f"{now:,} streams are still on {node}.")
                left, since = now, time.monotonic()
            if time.monotonic() - since > 20.0:
                break
            time.sleep(LOOK_S)
        raise StreamerError(
            f"{left:,} streams stay on {node}, for no other shard has room; add one, or end the node and let them wait."
        )


def _follow(director: Any, table: FleetTable) -> None:
    """Say what changes, until the user ends it."""
    from streamer.fleet.actors import ask_director

    over = threading.Event()

    def terminated(number: int, frame: FrameType | None) -> None:
        over.set()

    signal.signal(signal.SIGTERM, terminated)
    on_hangup(end=over.set, reload=lambda: None)  # the table is followed by itself
    said: set[str] = set()
    notice(f"{len(table.stream):,} streams for {sum(group.shards for group in table.groups.values())} shards.")
    while not over.wait(LOOK_S):
        lines = list(_lines(ask_director(director, "status")))
        for line in lines:
            if line not in said:
                notice(line)
        said = set(lines)


def _lines(status: FleetStatus) -> list[str]:
    lines = [status.sentence + "."]
    if status.problem:
        lines.append(f"The table stays as it was: {status.problem}")
    lines += [f"{shard.name} is {shard.state}." for shard in status.shards if shard.state not in ("up", "starting")]
    lines += [
        f"{shard.name}: {shard.problem}" for shard in status.shards if shard.problem and shard.state != "starting"
    ]
    return lines


def _check_broker(settings: Settings, address: str | None, *, detach: bool) -> None:
    """Refuse a broker that the shards could not reach, or a password that would travel through Ray."""
    if settings.mqtt.url == "embedded" and (address is not None or detach):
        raise UsageError(
            "The embedded broker is for one machine; name a broker that every node reaches: --mqtt mqtts://host."
        )
    try:
        password = urlsplit(settings.mqtt.url).password
    except ValueError:
        password = None
    if password and address is not None:
        raise UsageError(
            "The broker's URL holds a password, which is not sent through Ray; set mqtt.password_file to a file that "
            "every node has, or STREAMER_MQTT__PASSWORD where Ray is started."
        )


def _tables(settings: Settings, address: str | None, stack: ExitStack) -> dict[str, Any]:
    """Return the settings for the shards, without a password; a cluster of our own gets it by the environment."""
    from streamer.fleet.shard import PASSWORD_VARIABLE
    from streamer.publish.broker import BrokerOptions, EmbeddedBroker

    tables = settings.model_dump(mode="json", exclude={"mqtt": {"password"}, "stream": True, "action": True})
    mqtt = tables["mqtt"]
    password = settings.mqtt.password.get_secret_value()
    if mqtt["url"] == "embedded":
        broker = EmbeddedBroker(BrokerOptions(access=settings.mqtt.embedded_access, prefix=settings.mqtt.prefix))
        mqtt["url"] = broker.start()
        stack.callback(broker.stop)
        notice(f"The embedded MQTT broker listens on {mqtt['url']}.")
    elif (parts := urlsplit(mqtt["url"])).password:
        password = password or parts.password
        mqtt["url"] = parts._replace(netloc=f"{parts.username}@{parts.netloc.rpartition('@')[2]}").geturl()
    if password:
        if address is None:
            os.environ[PASSWORD_VARIABLE] = password
        elif not settings.mqtt.password_file:
            notice(f"The broker's password is not sent through Ray: every node needs it in {PASSWORD_VARIABLE}.")
    return tables
