"""`streamer serve`: a page in the browser for a monitor that runs elsewhere, fed from its broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streamer.commands.options import (
    BrokerUrl,
    ConfigFile,
    OpenToNetwork,
    ShownNode,
    given_tables,
    warn_of_visible_password,
)
from streamer.commands.stderr import notice

if TYPE_CHECKING:
    from streamer.settings import Settings
    from streamer.web.server import PageServer

PORT = "8780"


def serve(
    url: BrokerUrl = None,
    config: ConfigFile = None,
    node: ShownNode = None,
    listen: Annotated[
        str | None, typer.Option(metavar="[ADDRESS:]PORT", help="Where to serve. Default: web.listen, else 8780.")
    ] = None,
    open_to_network: OpenToNetwork = None,
) -> None:
    """Serve a page for the browser, fed from a broker.

    It shows what `streamer watch` shows, to any number of visitors. It is for this machine alone unless it is opened to
    the network, where visitors need a token. In OBS, add `?overlay=1` to its address. `streamer run --serve PORT`
    serves it without a broker, with the input level.

    \b
    Examples:
      streamer serve
      streamer serve mqtt://studio:1883 --node desk
      streamer serve --listen 0.0.0.0:8780 --open-to-network
    """
    from streamer.config import load

    warn_of_visible_password(url)
    flags = given_tables(mqtt={"url": url}, web={"listen": listen, "open_to_network": open_to_network})
    run_serve(load(config, flags), node)


def page_sentence(page: PageServer) -> str:
    """Return where the page is, and who may look."""
    if not page.needs_token:
        return f"The page for the browser is {page.url}"
    return f"The page is open to the network; whoever has this address sees what is heard: {page.url}"


def run_serve(settings: Settings, node: str | None) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Raises:
        UsageError: no URL was given and no monitor on this machine runs the embedded broker; or the page cannot be
            served as asked.
    """
    import signal

    from streamer.commands.ending import EndWish
    from streamer.commands.hangup import on_hangup
    from streamer.commands.watch import watched_broker
    from streamer.feed.watch import WatchFeed
    from streamer.publish.subscriber import Subscriber
    from streamer.web.open import open_page

    over = EndWish()
    table = settings.web
    if table.listen == "off":
        table = table.model_copy(update={"listen": PORT})
    broker = watched_broker(settings, "serve")
    feed = WatchFeed(str(broker.broker))
    page = open_page(table, feed)
    assert page is not None, "it is not off"
    subscriber = Subscriber(broker, feed, node)
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    on_hangup(end=over.set, reload=lambda: None)
    try:
        page.start()
        subscriber.start()
        notice(page_sentence(page))
        while not over.wait(0.5):  # in turns, so that Ctrl-C gets through
            pass
    finally:
        page.close()
        subscriber.close()
