"""The body of `streamer fleet watch`: the fleet's table, and from it the dashboard of one stream through the broker."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from streamer.commands.watch import watched_broker
from streamer.errors import UsageError
from streamer.events import Event, Info
from streamer.feed.watch import WatchFeed

if TYPE_CHECKING:
    from streamer.dashboard.fleet_table import FleetView
    from streamer.publish.link import LinkStatus
    from streamer.settings import Settings


def watch_fleet(settings: Settings, address: str | None, name: str) -> None:
    """Show the table until `q`; Enter shows a stream, and `q` there the table again.

    Raises:
        UsageError: there is no terminal, or no broker is named.
        StreamerError: there is no such fleet.
    """
    from streamer.dashboard.fleet_table import FleetTable
    from streamer.fleet.actors import find_director
    from streamer.fleet.cluster import connected

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("There is no terminal to draw on; `streamer fleet status` prints the fleet.")
    watched_broker(settings)  # says at once where none is named
    with connected(address or "auto"):
        look = partial(_look, find_director(name))
        while (chosen := FleetTable(look).run()) is not None:
            _watch_stream(settings, chosen.shard, chosen.stream)


def _look(director: Any) -> FleetView:
    from streamer.dashboard.fleet_table import FleetRow, FleetView
    from streamer.fleet.actors import ask_director

    status = ask_director(director, "status")
    rows = (FleetRow(one.name, one.status, one.shard, one.priority, one.detail) for one in status.streams)
    return FleetView(f"{status.name}: {status.sentence}.", tuple(rows))


def _watch_stream(settings: Settings, shard: str, stream: str) -> None:
    """Show the dashboard of one stream."""
    from streamer.commands.terminal_session import open_log, show
    from streamer.publish.subscriber import Subscriber

    broker = watched_broker(settings)
    feed = WatchFeed(str(broker.broker))
    subscriber = Subscriber(broker, OneStream(feed, stream), shard)
    try:
        show(feed, settings, open_log(None), start=subscriber.start, leave=(threading.Event(),))
    finally:
        subscriber.close()


@dataclass(frozen=True, slots=True)
class OneStream:
    """A subscriber's sink that lets one stream through: a shard has dozens."""

    feed: WatchFeed
    stream: str

    def on_event(self, node: str, event: Event) -> None:
        """Pass on what concerns the stream."""
        if isinstance(event, Info):
            self.feed.on_event(node, replace(event, streams=tuple(one for one in event.streams if one == self.stream)))
        elif event.stream == self.stream:
            self.feed.on_event(node, event)

    def on_availability(self, node: str, online: bool) -> None:
        """Pass it on."""
        self.feed.on_availability(node, online)

    def on_link(self, status: LinkStatus, detail: str) -> None:
        """Pass it on."""
        self.feed.on_link(status, detail)

    def on_malformed(self, topic: str, reason: str) -> None:
        """Pass it on."""
        self.feed.on_malformed(topic, reason)
