"""Open the page that the `[web]` table of config.toml describes."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from streamer.config import WebConfig
from streamer.errors import UsageError
from streamer.extras import install_command
from streamer.feed.snapshot import Feed
from streamer.publish.listen import Listen

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


def page_listen(table: WebConfig) -> Listen | None:
    """Return where the page is to be served; None where it is `off`.

    Raises:
        UsageError: that is no address, or aiohttp is missing.
    """
    if table.listen == "off":
        return None
    listen = Listen.parse(table.listen, "web.listen")
    if find_spec("aiohttp") is None:
        raise UsageError(f"The page needs aiohttp, which is not installed; {install_command('web')}.")
    return listen
