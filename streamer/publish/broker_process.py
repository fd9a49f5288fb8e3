"""amqtt, with what this project needs to be different. Importing it takes a quarter of a second."""

import asyncio
import logging
from typing import Any

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.session import Session

# Named one by one: amqtt's defaults log every packet and publish $SYS topics.
_PLUGINS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
_LISTENER = "default"

_LOG = logging.getLogger(__name__)


class QuietBroker(Broker):  # type: ignore[misc]  # amqtt has no types
    """A broker without accounts that is handed its connections.

    We listen ourselves: amqtt's own listener does not name a port that the system chose, knows no IPv6, and leaves
    connections open for ever that never said who they are.
    """

    def __init__(self) -> None:
        # It logs every stranger's mistake, which would land on the terminal.
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        super().__init__({"listeners": {_LISTENER: {"type": "external"}}, "plugins": dict(_PLUGINS)})
        self._connections: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it leaves. The callback of `asyncio.start_server`."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self.external_connected(StreamReaderAdapter(reader), StreamWriterAdapter(writer), _LISTENER)
        except Exception as error:  # whatever a stranger sent must not reach the others
            _LOG.debug("A client of the embedded broker was dropped: %r", error)
        finally:
            writer.close()
            self._connections.discard(task)

    async def shutdown(self) -> None:
        """Send all clients away, those included that never said who they are."""
        await super().shutdown()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # amqtt 0.11 and 0.12 send every new client what is retained on topics that any other client subscribed to.
        subscribers = self.subscriptions.get(subscription[0], [])
        if any(subscriber.client_id == session.client_id for subscriber, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)
