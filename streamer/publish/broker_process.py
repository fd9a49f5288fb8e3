"""amqtt with the changes that this project needs. Importing it takes a quarter of a second."""

import asyncio
import logging
from typing import Any

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.session import Session

# Named one by one: amqtt's defaults log every packet and publish $SYS topics.
_PLUGINS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
_LISTENER = "default"

logger = logging.getLogger(__name__)


class QuietBroker(Broker):  # type: ignore[misc]  # amqtt has no types
    """A broker without accounts that gets its connections from `serve` and logs nothing above DEBUG.

    `EmbeddedBroker` listens instead: amqtt's own listener does not report a port that the system chose, has no IPv6,
    and never closes a connection that sends no CONNECT.
    """

    def __init__(self) -> None:
        # amqtt logs every error of a client, and that would appear on the terminal.
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        super().__init__({"listeners": {_LISTENER: {"type": "external"}}, "plugins": dict(_PLUGINS)})
        self._connections: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it disconnects. The callback of `asyncio.start_server`."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self.external_connected(StreamReaderAdapter(reader), StreamWriterAdapter(writer), _LISTENER)
        except Exception as error:  # whatever one client sent must not affect the others
            logger.debug("A client of the embedded broker was dropped: %r", error)
        finally:
            writer.close()
            self._connections.discard(task)

    async def shutdown(self) -> None:
        """Disconnect all clients, including those that never sent a CONNECT."""
        await super().shutdown()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # amqtt 0.11 and 0.12 send every new client the retained messages of topics that any other client subscribed to.
        subscribers = self.subscriptions.get(subscription[0], [])
        if any(subscriber.client_id == session.client_id for subscriber, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)
