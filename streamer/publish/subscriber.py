"""Receive events from an MQTT broker, for `streamer watch`."""

import asyncio
import logging
from typing import Protocol

import aiomqtt

from streamer.errors import StreamerError
from streamer.events import Event, Info, MalformedEventError, from_json
from streamer.plain_text import printable
from streamer.publish.link import LinkState, LinkStatus, MqttLink, Timing, race
from streamer.publish.mqtt_settings import MqttSettings
from streamer.publish.topics import KINDS, OFFLINE, ONLINE, check_node

MAX_NODE = 200  # characters of a node's name, as `check_node` allows
_SHOWN_TOPIC = 300  # characters of a topic in a report
_REFUSED = 128  # the return code of a subscription that the broker does not grant

logger = logging.getLogger(__name__)


class SubscriptionRefusedError(StreamerError):
    """The broker accepted the connection but refuses a subscription."""


class Sink(Protocol):
    """Receives what a subscriber gets. Called from its thread, one call at a time; must not block."""

    def on_event(self, node: str, event: Event) -> None:
        """Take an event of the monitor `node`. After an outage a transition may come twice, with the same id."""
        ...

    def on_availability(self, node: str, online: bool) -> None:
        """Take the news that the monitor `node` came online or went offline."""
        ...

    def on_link(self, status: LinkStatus, detail: str) -> None:
        """Take the subscriber's own connection state; `detail` says in one sentence why it is offline."""
        ...

    def on_malformed(self, topic: str, reason: str) -> None:
        """Take the reason why a message on `topic` is malformed; called for every such message."""
        ...


class Subscriber:
    """Subscribes to one monitor, or to all under the prefix, in a thread of its own; reconnects until closed."""

    def __init__(
        self, settings: MqttSettings, sink: Sink, node: str | None = None, timing: Timing | None = None
    ) -> None:
        """Subscribe to `node`, or to every node where it is None; the settings' own node is not used.

        Raises:
            UsageError: `node` cannot be part of a topic, or a certificate cannot be read.
        """
        if node is not None:
            check_node(node)
        self.url = str(settings.broker)  # without the password
        self._prefix = settings.prefix
        self._node = "+" if node is None else node
        self._sink = sink
        self._malformed = 0
        self._link = MqttLink(
            settings,
            self._session,
            name="mqtt-watch",
            client_id=f"{settings.client_id}-watch",
            timing=timing,
            on_change=self._on_change,
        )

    @property
    def malformed(self) -> int:
        """Number of malformed messages."""
        return self._malformed

    def start(self) -> None:
        """Begin to connect; return at once."""
        self._link.start()

    def close(self) -> None:
        """End the thread. Safe to call twice, and before `start`."""
        self._link.close()

    def _on_change(self, state: LinkState) -> None:
        self._sink.on_link(state.status, state.detail)

    def _filters(self) -> list[tuple[str, int]]:
        """Return topic filters with QoS. No filter covers another: some brokers would send such messages twice."""
        base = f"{self._prefix}/{self._node}"
        of_node = [(f"{base}/availability", 1), (f"{base}/info", 1)]
        return of_node + [(f"{base}/+/{kind}", 1 if kind == "transition" else 0) for kind in KINDS]

    async def _session(self, client: aiomqtt.Client, closing: asyncio.Event) -> None:
        granted = await client.subscribe(self._filters())
        if any((code if isinstance(code, int) else code.value) == _REFUSED for code in granted):
            raise SubscriptionRefusedError(f"The broker does not let this user read {self._prefix}/#; check its ACL.")
        await race(self._read(client), _until(closing))

    async def _read(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            topic, payload = message.topic.value, message.payload
            try:
                self._deliver(topic, payload if isinstance(payload, bytes) else b"")
            except MalformedEventError as error:
                self._report(topic, str(error))
            except Exception as error:  # one message, be it retained, must not end every session that begins
                logger.exception("A message on %s cannot be shown.", printable(topic))
                self._report(topic, f"The message cannot be shown ({type(error).__name__}).")

    def _deliver(self, topic: str, payload: bytes) -> None:
        node, *rest = topic.removeprefix(f"{self._prefix}/").split("/")
        if not payload:
            return  # a retained message was cleared
        if len(node) > MAX_NODE or not node.isprintable():
            raise MalformedEventError("The node's name is too long, or not printable.")
        if rest == ["availability"]:
            if payload not in (ONLINE, OFFLINE):
                raise MalformedEventError("An availability is neither online nor offline.")
            self._sink.on_availability(node, payload == ONLINE)
            return
        event = from_json(payload)
        if rest != (["info"] if isinstance(event, Info) else [event.stream, event.type]):
            raise MalformedEventError(f"A message of type {event.type} does not belong on this topic.")
        self._sink.on_event(node, event)

    def _report(self, topic: str, reason: str) -> None:
        self._malformed += 1
        self._sink.on_malformed(printable(topic)[:_SHOWN_TOPIC], reason)


async def _until(event: asyncio.Event) -> None:
    await event.wait()
