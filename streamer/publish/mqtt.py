"""Publish events to an MQTT broker."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

import aiomqtt

from streamer.events import EmotionEnded, EmotionStarted, Event, Info, State, Transition, to_json
from streamer.publish.conversation import Conversation, wait
from streamer.publish.link import LinkState, LinkStatus, MqttLink, Timing, race
from streamer.publish.mqtt_settings import MqttSettings
from streamer.publish.outbox import Message, Outbox
from streamer.publish.publisher import PublisherStats
from streamer.publish.refusals import Refusals
from streamer.publish.station import Station
from streamer.publish.throttle import Throttle
from streamer.publish.topics import OFFLINE, Topics

_DRAIN_S = 0.6  # when closing, for what is still queued
_OFFLINE_S = 0.3  # then, for the retained `offline`; both fit into link.CLOSE_S
_SHORT_S = 1.0  # a session that breaks so soon after `Timing.resubscribe_s` was short
_SHORT_SESSIONS = 2  # in a row, after which messages are sent one at a time, to find the one that the broker refuses
_NO_MORE_WAITING = 3  # in a row, after which transitions do not wait for other clients: they would wait for ever

logger = logging.getLogger(__name__)


class MqttPublisher:
    """Implements `Publisher`. `publish` only appends; the thread `mqtt` sends.

    Transitions are sent one at a time with QoS 1, and count as sent when the broker has acknowledged them: they arrive
    in order, and after a broken connection at most the one in flight arrives twice. The rest is telemetry with QoS 0.

    Where connections keep breaking soon, everything is sent one at a time with QoS 1: what is in flight each time the
    connection breaks is what the broker refuses. That is set aside, counted, and named in `stats().detail`.
    """

    def __init__(
        self,
        settings: MqttSettings,
        timing: Timing | None = None,
        on_mute: Callable[[str, bool], None] | None = None,
    ) -> None:
        """Make a publisher, not started yet.

        Args:
            settings: of the broker, and what to send how often.
            timing: of the connection.
            on_mute: gets what others ask on a stream's `mute/set`, in the publisher's thread; None: nobody may ask.

        Raises:
            UsageError: a certificate cannot be read.
        """
        self._url = str(settings.broker)
        self._station = Station(settings, on_mute)
        self._conversation = Conversation(
            self._station, on_due=self._telemetry_wanted, on_greeting=self._announce_again
        )
        self._timing = timing or Timing()
        self._throttle = Throttle(settings.window_every, settings.state_every_s, settings.health_every_s)
        self._outbox = Outbox()
        self._transition_queued = asyncio.Event()
        self._telemetry_queued = asyncio.Event()
        self._info: Info | None = None
        self._info_sent: Info | None = None
        self._was_offline = False  # the broker was unreachable, and no transition has been sent since
        self._refusals = Refusals()
        self._announced = False  # in this session
        self._short_sessions = 0  # in a row
        self._in_flight: tuple[str, str] | None = None  # key and topic of what is sent with nothing beside it
        self._link = MqttLink(
            settings,
            self._session,
            name="mqtt",
            client_id=settings.client_id,
            will=_will(self._station.topics),
            timing=self._timing,
            on_change=self._remember_outage,
        )

    def start(self) -> None:
        """Begin to connect; return at once."""
        self._link.start()

    def publish(self, event: Event) -> None:
        """Queue one event; call from one thread. States and health may be passed as often as they are known."""
        if self._station.note(event):
            self._link.call(self._telemetry_queued.set)
        if not self._throttle.due(event):
            return
        if isinstance(event, Info):
            self._info = event
        else:
            self._outbox.put(Message(f"{event.stream}/{event.type}", event))  # the node may yet be renamed
        queued = self._transition_queued if isinstance(event, Transition) else self._telemetry_queued
        self._link.call(queued.set)

    def stats(self) -> PublisherStats:
        """Return the counters now. `info` is not counted."""
        link, counts = self._link.state, self._outbox.counts()
        detail = link.detail or self._refusals.detail or self._station.detail
        return PublisherStats(
            link.status == "online", self._url, detail, counts.sent, counts.queued, counts.shed, counts.refused,
            notice=self._station.notice,
        )  # fmt: skip

    def open_on(self, stream: str) -> str:
        """Return the id of the emotion that was started on a stream and not ended; empty: none."""
        return self._station.open_emotions.id_of(stream)

    @property
    def status(self) -> LinkStatus:
        """The state of the connection; `stats` says why it is offline."""
        return self._link.state.status

    def close(self) -> None:
        """Send what can be sent, publish the retained `offline`, end the thread: within about a second."""
        self._link.close()
        self._outbox.close()
        self._station.close()

    def _remember_outage(self, state: LinkState) -> None:
        if state.status == "offline":
            self._was_offline = True

    async def _session(self, client: aiomqtt.Client, closing: asyncio.Event) -> None:
        began, topics, talk = time.monotonic(), self._station.topics, self._conversation
        self._announced = False
        try:
            await talk.subscribe(client)
            await race(talk.listen(client), talk.greet(client), self._speak(client, closing), wait(talk.moved))
        except aiomqtt.MqttError as error:
            self._blame(error)
            short = time.monotonic() - began < self._timing.resubscribe_s + _SHORT_S
            self._short_sessions = self._short_sessions + 1 if short else 0
            raise
        finally:
            # Leaving by an exception is an orderly DISCONNECT to the broker, which then does not publish the will.
            with contextlib.suppress(aiomqtt.MqttError):
                if talk.moved.is_set():
                    await self._leave(client, topics)
                elif self._announced:  # before that the name may be another monitor's
                    await client.publish(topics.availability, OFFLINE, qos=1, retain=True, timeout=_OFFLINE_S)

    async def _speak(self, client: aiomqtt.Client, closing: asyncio.Event) -> None:
        await self._conversation.settle(closing)
        await self._announce(client)
        await race(self._send_all(client, closing), self._limit_drain(closing))

    async def _leave(self, client: aiomqtt.Client, topics: Topics) -> None:
        """Leave a name to the earlier monitor of that name, which says anew what stands there when it is greeted."""
        self._link.set_will(_will(self._station.topics))
        self._info_sent = None
        for topic in self._station.left_behind:
            await client.publish(topic, "", qos=1, retain=True)
        await client.publish(topics.presence, self._station.presence.message(hello=True), qos=1)

    async def _announce(self, client: aiomqtt.Client) -> None:
        """Publish all that is retained, queue the states: on every connection, since a new broker has none of them."""
        for end in self._station.take_left_open():
            self._was_offline = True  # whoever waits for the end may have lost the connection, too
            self._outbox.put(Message(f"{end.stream}/{end.type}", end), first=True)
        self._announced = True
        self._announce_again()
        await self._send_info(client)
        self._outbox.repeat_states()

    def _announce_again(self) -> None:
        self._info_sent = None
        self._station.retained.repeat()
        self._telemetry_queued.set()

    def _telemetry_wanted(self) -> None:
        self._telemetry_queued.set()

    async def _publish_retained(self, client: aiomqtt.Client, topic: str, payload: bytes | str) -> bool:
        """Publish what belongs to the whole monitor, unless the broker refuses it; return whether it took it."""
        if self._refusals.is_refused(topic):
            return False
        self._in_flight = topic, topic
        await client.publish(topic, payload, qos=1, retain=True)
        self._in_flight = None
        self._refusals.passed(topic)
        return True

    def _blame(self, error: aiomqtt.MqttError) -> None:
        """Note what was alone in flight when the connection broke."""
        in_flight, self._in_flight = self._in_flight, None
        if in_flight is not None and self._refusals.failed(*in_flight, _reason(error)):
            logger.warning("%s", self._refusals.detail)

    async def _send_all(self, client: aiomqtt.Client, closing: asyncio.Event) -> None:
        """Send everything that is queued, until `closing` is set and nothing is left."""
        if self._short_sessions >= _SHORT_SESSIONS:
            await self._send_one_by_one(client, closing)
            return
        try:
            async with asyncio.TaskGroup() as senders:
                senders.create_task(self._send_transitions(client, closing))
                senders.create_task(self._send_telemetry(client, closing))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # the link distinguishes errors by type

    async def _send_transitions(self, client: aiomqtt.Client, closing: asyncio.Event) -> None:
        await self._wait_for_subscribers(closing)
        while True:
            self._transition_queued.clear()
            while (message := self._outbox.take_transition()) is not None:
                await self._send(client, message, qos=1)
            if closing.is_set():
                return
            await self._transition_queued.wait()

    async def _send_telemetry(self, client: aiomqtt.Client, closing: asyncio.Event) -> None:
        while True:
            self._telemetry_queued.clear()
            await self._send_info(client)
            while (message := self._outbox.take_telemetry()) is not None:
                await self._send(client, message, qos=0)
            if closing.is_set():
                return
            await self._telemetry_queued.wait()

    async def _wait_for_subscribers(self, closing: asyncio.Event) -> None:
        """Wait after an outage: a restarted broker acknowledges messages before any client has subscribed again."""
        if self._was_offline and self._short_sessions < _NO_MORE_WAITING:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(closing.wait(), self._timing.resubscribe_s)
        self._was_offline = False

    async def _send_one_by_one(self, client: aiomqtt.Client, closing: asyncio.Event) -> None:
        """Send everything with QoS 1, a transition and a piece of telemetry in turn."""
        await self._wait_for_subscribers(closing)
        while True:
            self._transition_queued.clear()
            self._telemetry_queued.clear()
            await self._send_info(client)
            while messages := [m for m in (self._outbox.take_transition(), self._outbox.take_telemetry()) if m]:
                await self._try(client, messages)
            if closing.is_set():
                return
            await race(wait(self._transition_queued), wait(self._telemetry_queued))

    async def _try(self, client: aiomqtt.Client, messages: list[Message]) -> None:
        """Send each of the messages that were taken; with the first that fails, put back those behind it."""
        for number, message in enumerate(messages):
            try:
                await self._send(client, message, qos=1, alone=True)
            except BaseException:
                for other in messages[number + 1 :]:
                    self._outbox.put_back(other)
                raise

    async def _send(self, client: aiomqtt.Client, message: Message, qos: int, *, alone: bool = False) -> None:
        """Send a message that was taken; `alone`: nothing else is in flight, so that it is known what broke."""
        event, topic = message.event, self._station.topics.of(message.event)
        key = f"{event.id} {event.event_type}" if isinstance(event, Transition) else message.topic
        if self._refusals.is_refused(key):
            self._outbox.refuse(message)
            return
        if isinstance(event, EmotionStarted):
            self._station.open_emotions.note(event)
        self._in_flight = (key, topic) if alone else None
        try:
            if isinstance(event, EmotionStarted):
                await self._keep_open(client, event.stream)
            await client.publish(topic, to_json(event), qos=qos)
        except (ValueError, TypeError):
            logger.exception("A %s cannot be written; it is left out.", message.event.type)
            self._in_flight = None
            self._outbox.give_up(message)
        except BaseException:  # the connection broke, or the session ends: perhaps not delivered
            self._outbox.put_back(message)
            raise
        else:
            self._in_flight = None
            self._outbox.sent(message)
            if isinstance(event, EmotionEnded | State):
                before = self._station.open_message(event.stream)
                self._station.open_emotions.note(event)
                if before != self._station.open_message(event.stream):
                    await self._keep_open(client, event.stream)
            if alone:
                self._refusals.passed(key)

    async def _keep_open(self, client: aiomqtt.Client, stream: str) -> None:
        """Keep at the broker what is open on a stream, where a shard's successor looks for it."""
        if (message := self._station.open_message(stream)) is not None:
            await client.publish(message[0], message[1], qos=1, retain=True)

    async def _send_info(self, client: aiomqtt.Client) -> None:
        """Send what is running where that is new, and all else that is retained and due."""
        info, station = self._info, self._station
        if info is not None and info is not self._info_sent:
            await self._publish_retained(client, station.topics.info, to_json(info))
            self._info_sent = info
            station.describe(info)
        while (due := station.retained.take()) is not None:
            if await self._publish_retained(client, *due):
                station.delivered(*due)

    async def _limit_drain(self, closing: asyncio.Event) -> None:
        """Once `closing` is set, wake the senders, and return after `_DRAIN_S`."""
        await closing.wait()
        self._transition_queued.set()
        self._telemetry_queued.set()
        await asyncio.sleep(_DRAIN_S)


def _will(topics: Topics) -> aiomqtt.Will:
    return aiomqtt.Will(topics.availability, OFFLINE, qos=1, retain=True)


def _reason(error: BaseException) -> str:
    """Return what the broker did, as the end of a sentence."""
    timed_out = isinstance(error, aiomqtt.MqttError) and "timed out" in str(error)
    return "it does not acknowledge it." if timed_out else "it ends the connection each time."
