"""amqtt with limits on what it keeps. Importing it takes a tenth of a second."""

import logging
from typing import Any

from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.session import OutgoingApplicationMessage, Session

from streamer.publish.broker_access import AccessRules, Role

MAX_RETAINED = 1_000  # topics
MAX_RETAINED_BYTES = 4 * 1024 * 1024
MAX_FILTERS = 50  # subscriptions of one client
_MAX_WAITING = 16  # messages on their way through the broker, past which nobody's next message is read
_MAX_OF_ONE = 4  # of one publisher, likewise
_MAX_QOS = 1  # that a subscriber is granted

# Named one by one: amqtt's defaults log every packet and publish $SYS topics. Who may come in has been decided before.
_PLUGINS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
LISTENER = "default"
_REFUSED = 0x80  # in a SUBACK


class BoundedBroker(Broker):  # type: ignore[misc]  # amqtt has no types
    """Routes messages between the connections that it is given, and retains a bounded number; logs nothing.

    Clients come in through `external_connected`: amqtt's own listener does not report a port that the system chose,
    has no IPv6, and bounds nothing.
    """

    def __init__(self, rules: AccessRules) -> None:
        # amqtt logs every error of a client, and that would appear on the terminal.
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        super().__init__({"listeners": {LISTENER: {"type": "external"}}, "plugins": dict(_PLUGINS)})
        self._rules = rules
        self._retained_bytes = 0
        self.not_retained = 0  # messages for which there was no room

    def flow_of(self, client_id: str) -> "ClientFlow":
        """Return the flow of messages from the client `client_id`."""
        return ClientFlow(self, client_id)

    def is_busy(self) -> bool:
        """Return whether every publisher has to wait until what came before has been passed on."""
        return int(self._broadcast_queue.qsize()) >= _MAX_WAITING

    async def retain_message(
        self,
        source_session: Session | None,
        topic_name: str | None,
        data: bytes | bytearray | None,
        qos: int | None = None,
    ) -> None:
        """Retain a message, unless too much is retained already; forget the topic's where `data` is empty."""
        old = self.retained_messages.get(topic_name)
        freed = 0 if old is None else _size(topic_name, old.data)
        needed = _size(topic_name, data) if data else 0
        if needed and (
            (old is None and len(self.retained_messages) >= MAX_RETAINED)
            or self._retained_bytes - freed + needed > MAX_RETAINED_BYTES
        ):
            self.not_retained += 1
            return
        self._retained_bytes += needed - freed
        await super().retain_message(source_session, topic_name, data, qos)

    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        """Subscribe, and return the code for the SUBACK."""
        topic_filter, qos = subscription
        role = self._rules.role(session.username, session.password)
        if role is None or not self._rules.may_subscribe(role, topic_filter):
            return _REFUSED
        filters = [name for name, them in self.subscriptions.items() if any(s == session for s, _ in them)]
        if topic_filter not in filters and len(filters) >= MAX_FILTERS:
            return _REFUSED
        return int(await super().add_subscription((topic_filter, min(qos, _MAX_QOS)), session))

    def _get_handler(self, session: Session) -> "_Delivery | None":
        handler = super()._get_handler(session)
        return None if handler is None else _Delivery(handler)

    async def _topic_filtering(self, session: Session, topic: str, action: Action) -> bool:
        # A second look: the connection does not let a reader's message through either.
        if action is Action.PUBLISH:
            return self._rules.role(session.username, session.password) is Role.EVERYTHING
        return True

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # amqtt 0.11 and 0.12 send every new client the retained messages of topics that any other client subscribed to.
        subscribers = self.subscriptions.get(subscription[0], [])
        if any(subscriber.client_id == session.client_id for subscriber, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)


class ClientFlow:
    """Implements `Flow`."""

    def __init__(self, broker: BoundedBroker, client_id: str) -> None:
        self._broker = broker
        self._client_id = client_id

    def is_busy(self) -> bool:
        """Return whether the client's next message has to wait."""
        return self._broker.is_busy() or self._undelivered() >= _MAX_OF_ONE

    def has_undelivered(self) -> bool:
        """Return whether amqtt has not looked at all that came from the client."""
        return self._undelivered() > 0

    def _undelivered(self) -> int:
        session = self._broker.sessions.get(self._client_id, (None, None))[0]
        return 0 if session is None else int(session.delivered_message_queue.qsize())


class _Delivery:
    """Sends messages to one client without waiting for its acknowledgements, which its connection counts.

    amqtt waits 5 s for each and then gives it up; it sends nothing again, since no session here outlives its
    connection. Waiting would only let clients that acknowledge nothing pile up what waits, and block the publishers.
    """

    def __init__(self, handler: BrokerProtocolHandler) -> None:
        self._handler = handler

    async def mqtt_publish(self, topic: str, data: bytes | bytearray, qos: int | None, retain: bool) -> None:
        """Queue the message at the client's connection."""
        session = self._handler.session
        if session is None:  # it has left
            return
        qos = min(qos or 0, _MAX_QOS)  # a will comes with its own
        number = session.next_packet_id if qos else None
        message = OutgoingApplicationMessage(number, topic, qos, data, retain)
        await self._handler._send_packet(message.build_publish_packet())


def _size(topic: str | None, data: Any) -> int:
    return len((topic or "").encode()) + len(data or b"")
