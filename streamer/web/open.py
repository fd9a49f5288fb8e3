"""Open the page that the `[web]` table of config.toml describes."""

from typing import TYPE_CHECKING

from streamer.feed.snapshot import Feed
from streamer.settings import WebConfig
from streamer.web.where import page_listen

if TYPE_CHECKING:  # it loads aiohttp
    from streamer.web.server import PageServer


def open_page(table: WebConfig, feed: Feed) -> "PageServer | None":
    """Return the server of the page, not started yet; None where it is `off`.

    Raises:
        UsageError: that is no address, others would reach it unasked, or aiohttp is missing.
        StreamerError: the port is in use.
    """
    listen = page_listen(table)
    if listen is None:
        return None
    from streamer.web.access import choose_access
    from streamer.web.server import PageServer

    return PageServer(feed, choose_access(listen, table.open_to_network, table.token_file))
