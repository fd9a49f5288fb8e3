"""Where the page is served, as the `[web]` table of config.toml says."""

from importlib.util import find_spec

from streamer.errors import UsageError
from streamer.extras import install_command
from streamer.publish.listen import Listen
from streamer.settings import WebConfig


def page_listen(table: WebConfig) -> Listen | None:
    """Return where the page is to be served; None where it is `off`.

    Raises:
        UsageError: that is no address, others would reach it unasked, or aiohttp is missing.
    """
    if table.listen == "off":
        return None
    listen = Listen.parse(table.listen, "web.listen")
    if find_spec("aiohttp") is None:
        raise UsageError(f"The page needs aiohttp, which is not installed; {install_command('web')}.")
    check_reach(listen, table.open_to_network)
    return listen


def check_reach(listen: Listen, open_to_network: bool) -> None:
    """Raise UsageError where others would reach the page, and that was not asked for."""
    if not listen.is_loopback and not open_to_network:
        raise UsageError(
            f"{listen} is reached from the network; add --open-to-network (web.open_to_network = true) if others may "
            "see what is heard. They then need a token."
        )
