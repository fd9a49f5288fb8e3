"""`streamer watch`: the dashboard of a monitor that runs elsewhere, fed from its broker."""

from pathlib import Path

from streamer.commands.terminal_session import open_log, show
from streamer.config import Settings
from streamer.errors import UsageError
from streamer.feed.watch import WatchFeed
from streamer.publish.broker_files import find_broker
from streamer.publish.open import mqtt_settings
from streamer.publish.subscriber import Subscriber


def run_watch(settings: Settings, node: str | None, log_file: Path | None) -> None:
    """Show until `q` or Ctrl-C.

    Raises:
        UsageError: no URL was given and no monitor on this machine runs the embedded broker.
    """
    url = settings.mqtt.url
    if url in ("embedded", "off"):
        found = find_broker()
        if found is None:
            raise UsageError(
                "No monitor on this machine runs the embedded broker; start `streamer run` first, or name a broker: "
                "streamer watch mqtt://host:1883."
            )
        url = found
    broker = mqtt_settings(settings.mqtt, url)
    feed = WatchFeed(str(broker.broker))
    subscriber = Subscriber(broker, feed, node)
    try:
        show(feed, settings, open_log(log_file), start=subscriber.start)
    finally:
        subscriber.close()
