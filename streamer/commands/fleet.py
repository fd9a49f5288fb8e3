"""`streamer fleet`: thousands of streams on the machines of a Ray cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.commands.on_ray import require_ray
from streamer.commands.options import ConfigFile, Json, Mqtt, given_tables, warn_of_visible_password
from streamer.errors import StreamerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.fleet.status import FleetStatus

fleet = typer.Typer(
    name="fleet",
    no_args_is_help=True,
    help="Serve thousands of streams on the machines of a Ray cluster.",
    rich_markup_mode=None,
)

Address = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT|auto", help="Ray's cluster. Default: RAY_ADDRESS, else this machine's."),
]
FleetName = Annotated[str, typer.Option("--name", help="The fleet, as [fleet] in its table names it.")]


@fleet.command()
def run(
    table: Annotated[Path, typer.Argument(help="FLEET.toml, or a CSV file with name,source,…", show_default=False)],
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT|auto", help="Ray's cluster. Default: RAY_ADDRESS, else one of this machine."),
    ] = None,
    config: ConfigFile = None,
    mqtt: Mqtt = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when the fleet runs; `streamer fleet stop` ends it.")
    ] = False,
) -> None:
    """Serve the streams of a table, and follow the table when it changes.

    Ctrl-C ends the fleet, unless it was started with --detach. Events go to the broker of the settings.

    \b
    Examples:
      streamer fleet run FLEET.toml
      streamer fleet run streams.csv --address auto --mqtt mqtts://broker.lan --detach
    """
    from streamer.commands.fleet_run import run_fleet
    from streamer.config import load

    require_ray("A fleet")
    warn_of_visible_password(mqtt)
    run_fleet(table, load(config, given_tables(mqtt={"url": mqtt})), address, detach=detach)


@fleet.command()
def status(
    address: Address = None,
    name: FleetName = "fleet",
    as_json: Json = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print where Prometheus finds the shards, for its file_sd_configs.")
    ] = False,
    streams: Annotated[int, typer.Option(min=0, help="Number of streams to list, the worst first.")] = 20,
) -> None:
    """Show the shards, and the streams that need somebody.

    \b
    Examples:
      streamer fleet status
      streamer fleet status --json | jq '.streams[] | select(.status == "unserved")'
    """
    found = _ask(address, name, "status")
    if as_json:
        print(json.dumps(found.as_dict(), indent=1))
    elif prometheus:
        print(json.dumps(list(_targets(found)), indent=1))
    else:
        from streamer.commands.fleet_tables import print_status

        print_status(found, streams)


@fleet.command()
def watch(
    address: Address = None,
    name: FleetName = "fleet",
    config: ConfigFile = None,
    mqtt: Mqtt = None,
) -> None:
    """Show the streams on the screen, the worst first; / searches, Enter shows a stream.

    The stream's dashboard is fed from the broker, as by `streamer watch`; q leads back.

    \b
    Examples:
      streamer fleet watch
      streamer fleet watch --address auto --mqtt mqtts://broker.lan
    """
    from streamer.commands.fleet_watch import watch_fleet
    from streamer.config import load

    require_ray("A fleet")
    warn_of_visible_password(mqtt)
    watch_fleet(load(config, given_tables(mqtt={"url": mqtt})), address, name)


@fleet.command()
def drain(
    node: Annotated[str, typer.Argument(help="Name of the host, or Ray's id of the node.", show_default=False)],
    address: Address = None,
    name: FleetName = "fleet",
    undo: Annotated[bool, typer.Option("--undo", help="Let the node have streams again.")] = False,
) -> None:
    """Move the streams of a node to others, as far as they have room, and give it no more.

    \b
    Examples:
      streamer fleet drain gpu-7
      streamer fleet drain gpu-7 --undo
    """
    from streamer.commands.fleet_run import drain_node

    require_ray("A fleet")
    drain_node(node, address, name, undo=undo)


@fleet.command()
def restart(address: Address = None, name: FleetName = "fleet") -> None:
    """Restart all shards one after the other, never two at once: after an upgrade.

    \b
    Examples:
      streamer fleet restart
    """
    _ask(address, name, "restart")
    print("The shards are restarted one after the other; `streamer fleet status` shows how many are left.")


@fleet.command()
def stop(address: Address = None, name: FleetName = "fleet") -> None:
    """End a fleet in order: its streams, its shards, its director.

    \b
    Examples:
      streamer fleet stop
    """
    require_ray("A fleet")
    from streamer.fleet.actors import find_director, stop_fleet
    from streamer.fleet.cluster import connected

    with connected(address or "auto"):
        stop_fleet(name, find_director(name))


def _ask(address: str | None, name: str, what: str) -> Any:
    """Return the director's answer."""
    require_ray("A fleet")
    from streamer.fleet.actors import ask_director, find_director
    from streamer.fleet.cluster import connected

    with connected(address or "auto"):
        return ask_director(find_director(name), what)


def _targets(found: FleetStatus) -> Iterator[dict[str, Any]]:
    """Yield the targets of Prometheus' file_sd: a shard's figures are served on its own machine."""
    shards = [shard for shard in found.shards if shard.metrics]
    if not shards:
        raise StreamerError('No shard serves figures; set metrics.listen, as in STREAMER_METRICS__LISTEN="0.0.0.0:0".')
    for shard in shards:
        place = shard.metrics.removeprefix("http://").removesuffix("/metrics").replace("0.0.0.0", shard.host)
        yield {"targets": [place], "labels": {"shard": shard.name, "fleet": found.name}}
