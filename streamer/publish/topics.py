"""The names of the MQTT topics, and which of them are allowed."""

import socket
from dataclasses import dataclass

from streamer.errors import UsageError
from streamer.events import Event, Info
from streamer.names import slugify

KINDS = ("window", "state", "transition", "health")
ONLINE, OFFLINE = b"online", b"offline"


def default_node() -> str:
    """This host's name, reduced to [a-z0-9_-]."""
    return slugify(socket.gethostname(), "node")


@dataclass(frozen=True, slots=True)
class Topics:
    """`{prefix}/{node}/{stream}/{kind}` for events, `{prefix}/{node}/` for what concerns the whole monitor.

    Raises:
        UsageError: a part of a topic is empty, holds a wildcard, or could not be subscribed to.
    """

    prefix: str
    node: str

    def __post_init__(self) -> None:
        check_prefix(self.prefix)
        check_node(self.node)

    @property
    def availability(self) -> str:
        """Plain `online` or `offline`, retained, also the will."""
        return f"{self.prefix}/{self.node}/availability"

    @property
    def info(self) -> str:
        """What is running, retained."""
        return f"{self.prefix}/{self.node}/info"

    def of(self, event: Event) -> str:
        """Where `event` goes."""
        if isinstance(event, Info):
            return self.info
        return f"{self.prefix}/{self.node}/{event.stream}/{event.type}"


def check_prefix(prefix: str) -> None:
    """One or more parts joined by slashes; `$` at the start belongs to brokers."""
    if prefix.startswith("$") or not all(_is_part(part) for part in prefix.split("/")) or len(prefix) > 200:
        raise UsageError(
            f"The MQTT prefix {prefix[:80]!r} cannot be used; write words joined by '/', without '+', '#', control "
            "characters, empty parts, or '$' at the start."
        )


def check_node(node: str) -> None:
    """One part of a topic."""
    if "/" in node or not _is_part(node) or len(node) > 200:
        raise UsageError(
            f"The MQTT node {node[:80]!r} cannot be used; write one word without '/', '+', '#' or control characters."
        )


def _is_part(part: str) -> bool:
    return part != "" and part.isprintable() and not set(part) & {"+", "#", "/"}
