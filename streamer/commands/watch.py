"""`streamer watch`: show the dashboard of a monitor that runs elsewhere, fed from its broker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamer.commands.options import BrokerUrl, ConfigFile, LogFile, ShownNode, given_tables, warn_of_visible_password
from streamer.errors import UsageError

if TYPE_CHECKING:
    from streamer.publish.mqtt_settings import MqttSettings
    from streamer.settings import Settings


def watch(
    url: BrokerUrl = None,
    config: ConfigFile = None,
    node: ShownNode = None,
    log_file: LogFile = None,
) -> None:
    """Show the dashboard of a monitor that runs elsewhere.

    Its events come from an MQTT broker.

    \b
    Examples:
      streamer watch
      streamer watch mqtt://studio:1883 --node desk
    """
    from streamer.config import load

    warn_of_visible_password(url)
    run_watch(load(config, given_tables(mqtt={"url": url})), node, log_file)


def run_watch(settings: Settings, node: str | None, log_file: Path | None) -> None:
    """Show the dashboard until `q` or Ctrl-C.

    Raises:
        UsageError: no URL was given and no monitor on this machine runs the embedded broker.
    """
    from streamer.commands.ending import EndWish
    from streamer.commands.hangup import on_hangup
    from streamer.commands.terminal_session import open_log, show
    from streamer.feed.watch import WatchFeed
    from streamer.publish.subscriber import Subscriber

    broker = watched_broker(settings)
    feed = WatchFeed(str(broker.broker))
    subscriber = Subscriber(broker, feed, node)
    hung_up = EndWish()
    on_hangup(end=hung_up.set, reload=hung_up.set)
    try:
        show(feed, settings, open_log(log_file), start=subscriber.start, leave=(hung_up,))
    finally:
        subscriber.close()


def watched_broker(settings: Settings, command: str = "watch") -> MqttSettings:
    """Return the broker that `command` follows: the one that the settings name, else that of a monitor on this machine.

    Raises:
        UsageError: none is named, and no monitor on this machine runs the embedded broker.
    """
    from streamer.publish.broker_files import find_broker
    from streamer.publish.open import mqtt_settings

    url = settings.mqtt.url
    if url in ("embedded", "off"):
        found = find_broker()
        if found is None:
            raise UsageError(
                "No monitor on this machine runs the embedded broker; start `streamer run` first, or name a broker: "
                f"streamer {command} mqtt://host:1883."
            )
        url = found
    return mqtt_settings(settings.mqtt, url)
