"""Build and validate the names of the MQTT topics."""

import socket
from dataclasses import dataclass

from streamer.errors import UsageError
from streamer.events import Event, Info
from streamer.names import slugify

KINDS = ("window", "state", "transition", "health")
ONLINE, OFFLINE = b"online", b"offline"


def default_node() -> str:
    """Return this host's name, reduced to [a-z0-9_-]."""
    return slugify(socket.gethostname(), "node")


@dataclass(frozen=True, slots=True)
class Topics:
    """Topic names: `{prefix}/{node}/{stream}/{kind}` for events, `{prefix}/{node}/…` for the whole monitor.

    Raises:
        UsageError: a part of a topic is empty, holds a wildcard, or cannot be subscribed to.
    """

    prefix: str
    node: str

    def __post_init__(self) -> None:
        check_prefix(self.prefix)
        check_node(self.node)

    @property
    def availability(self) -> str:
        """Topic of the plain `online` or `offline`: retained, and the will."""
        return f"{self.prefix}/{self.node}/availability"

    @property
    def info(self) -> str:
        """Topic of what is running, retained."""
        return f"{self.prefix}/{self.node}/info"

    @property
    def presence(self) -> str:
        """Topic on which monitors of this name greet each other."""
        return f"{self.prefix}/{self.node}/presence"

    @property
    def check(self) -> str:
        """Topic on which `streamer doctor` sends itself a message."""
        return f"{self.prefix}/{self.node}/check"

    def open(self, stream: str) -> str:
        """Topic of the emotion that is open on a stream of a fleet, retained, for the shard's successor."""
        return f"{self.prefix}/{self.node}/{stream}/open"

    def mute(self, stream: str) -> str:
        """Topic of the plain `ON` or `OFF`, retained: whether a stream is muted."""
        return f"{self.prefix}/{self.node}/{stream}/mute"

    def mute_command(self, stream: str) -> str:
        """Topic on which others ask to mute a stream (`ON`) or to lift that (`OFF`)."""
        return f"{self.mute(stream)}/set"

    def of(self, event: Event) -> str:
        """Return the topic of `event`."""
        if isinstance(event, Info):
            return self.info
        return f"{self.prefix}/{self.node}/{event.stream}/{event.type}"


def check_prefix(prefix: str, what: str = "The MQTT prefix") -> None:
    """Raise UsageError unless `prefix` is parts joined by slashes; `$` at its start is reserved for brokers."""
    if prefix.startswith("$") or not all(_is_part(part) for part in prefix.split("/")) or len(prefix) > 200:
        raise UsageError(
            f"{what} {prefix[:80]!r} cannot be used; write words joined by '/', without '+', '#', control "
            "characters, empty parts, or '$' at the start."
        )


def check_node(node: str) -> None:
    """Raise UsageError unless `node` is one part of a topic."""
    if "/" in node or not _is_part(node) or len(node) > 200:
        raise UsageError(
            f"The MQTT node {node[:80]!r} cannot be used; write one word without '/', '+', '#' or control characters."
        )


def _is_part(part: str) -> bool:
    return part != "" and part.isprintable() and not set(part) & {"+", "#", "/"}
