"""End the emotions that a lost shard of a fleet left open, for the shard that serves its streams now.

A shard keeps what is open on a stream as a retained message on `{prefix}/{shard}/{stream}/open`. Whoever gets the lease
of a stream whose shard was lost looks there, sends the end on the lost shard's topic, where its start was, and clears
the message. Who let go of a stream in order has done so itself.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable

import aiomqtt

from streamer.events import to_json
from streamer.publish.link import MqttLink, Timing
from streamer.publish.mqtt_settings import MqttSettings
from streamer.publish.open_emotions import read_message
from streamer.publish.topics import Topics

QUIET_S = 1.0  # retained messages come at once; after so long without one there is none
_AT_ONCE = 50  # streams in one subscription
_RETAINED_MOST = 200  # read at once; anybody may publish

logger = logging.getLogger(__name__)


class Inheritance:
    """Looks for what lost shards left open, in a thread and a connection of its own.

    Args:
        settings: of the shard's publisher.
        own: returns the id of the emotion that the shard itself has open on a stream; empty: none.
        timing: of the connection.
    """

    def __init__(self, settings: MqttSettings, own: Callable[[str], str], timing: Timing | None = None) -> None:
        self._prefix, self._node = settings.prefix, settings.node
        self._own = own
        self._due: dict[str, None] = {}  # streams, in the order in which they came
        self._came = asyncio.Event()
        self.ended = 0  # emotions that were ended
        self._link = MqttLink(
            settings, self._session, name="mqtt-heir", client_id=f"{settings.client_id}-heir", timing=timing
        )

    def start(self) -> None:
        """Begin to connect; return at once."""
        self._link.start()

    def take(self, streams: Iterable[str]) -> None:
        """Look for what was left open on these streams, as soon as there is a connection; from any thread."""
        names = dict.fromkeys(streams)
        if names:
            self._due.update(names)
            self._link.call(self._came.set)

    def close(self) -> None:
        """End the thread. Safe to call twice."""
        self._link.close()

    async def _session(self, client: aiomqtt.Client, closing: asyncio.Event) -> None:
        messages = aiter(client.messages)
        while not closing.is_set():
            self._came.clear()
            batch = list(self._due)[:_AT_ONCE]
            if not batch:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._came.wait(), 0.5)
                continue
            filters = [Topics(self._prefix, "any").open(stream).replace("/any/", "/+/") for stream in batch]
            await client.subscribe([(one, 1) for one in filters])
            found = await _retained(client, messages)
            for topic, payload in found.items():
                node, stream, _ = topic.removeprefix(f"{self._prefix}/").split("/")
                if stream in batch:
                    await self._end(client, Topics(self._prefix, node), stream, payload)
            await client.unsubscribe(filters)
            for stream in batch:
                self._due.pop(stream, None)

    async def _end(self, client: aiomqtt.Client, topics: Topics, stream: str, payload: bytes) -> None:
        """Send the end of what a lost shard said was open, then clear what it said."""
        end, own = read_message(payload, time.time()), self._own(stream)
        if end is not None and end.stream == stream:
            if end.id == own:
                return
            await client.publish(topics.of(end), to_json(end), qos=1)
            self.ended += 1
            logger.info("An emotion that %s left open on %s was ended.", topics.node, stream)
        if not (own and topics.node == self._node):  # else it may have been replaced meanwhile
            await client.publish(topics.open(stream), "", qos=1, retain=True)


async def _retained(client: aiomqtt.Client, messages: AsyncIterator[aiomqtt.Message]) -> dict[str, bytes]:
    """Return the retained messages that come after a subscription, by topic, until none has come for `QUIET_S`."""
    found: dict[str, bytes] = {}
    while len(found) < _RETAINED_MOST:
        try:
            message = await asyncio.wait_for(anext(messages), QUIET_S)
        except TimeoutError:
            break
        if message.retain and isinstance(message.payload, bytes) and message.payload:
            found[message.topic.value] = message.payload
    return found
