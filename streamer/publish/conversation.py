"""What a publisher's connection hears, and says of itself: greetings, commands to mute, Home Assistant's start."""

import asyncio
import contextlib
from collections.abc import Callable

import aiomqtt

from streamer.publish.link import race
from streamer.publish.presence import ANSWER_S, CLOSING_S, EVERY_S, SETTLE_S
from streamer.publish.station import Station

_MOST_FAILURES = 3  # connections in a row that ended over the greeting; then it goes on without


class Conversation:
    """Keeps a `Station` informed over one connection after the other.

    Args:
        station: what is told and heard of.
        on_due: something retained is to be sent.
        on_greeting: a later monitor of this name came, and may have written over everything retained.
    """

    def __init__(self, station: Station, *, on_due: Callable[[], None], on_greeting: Callable[[], None]) -> None:
        self._station = station
        self._on_due = on_due
        self._on_greeting = on_greeting
        self._answer = asyncio.Event()
        self._came_back = asyncio.Event()
        self._settled = False  # nobody earlier had the name when it was taken
        self._is_deaf = False  # what this monitor sends is not brought back
        self._failures = 0  # connections in a row that did not outlive the greeting
        self.moved = asyncio.Event()  # an earlier monitor has the name: this connection ends, for one under another

    async def subscribe(self, client: aiomqtt.Client) -> None:
        """Subscribe, on every new connection; some brokers end it for that, and are then not asked any more."""
        self.moved.clear()
        self._came_back.clear()
        self._station.presence.connected(silent=self._is_silent)
        if not self._is_silent:
            self._failures += 1
            await client.subscribe(self._station.filters())

    @property
    def _is_silent(self) -> bool:
        return self._failures >= _MOST_FAILURES

    async def listen(self, client: aiomqtt.Client) -> None:
        """Handle what arrives; raise at once when the connection is lost."""
        async for message in client.messages:
            topic, payload = message.topic.value, message.payload
            payload = payload if isinstance(payload, bytes) else b""
            if topic == self._station.topics.presence:
                self._hear(payload)
            elif self._station.take_message(topic, payload, message.retain):
                self._on_due()

    async def greet(self, client: aiomqtt.Client) -> None:
        """Greet, and be heard again every few seconds, or at once when somebody greets."""
        hello = True
        while True:
            if self._is_silent:
                await asyncio.sleep(EVERY_S)
                continue
            await client.publish(self._station.topics.presence, self._station.presence.message(hello))
            hello = False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._answer.wait(), EVERY_S)
            self._answer.clear()

    async def settle(self, closing: asyncio.Event) -> None:
        """Wait until the greeting came back, and once under each name for an earlier monitor's answer to it.

        Where greetings do not come back, nobody would be heard, and only the first is waited for.
        """
        if not (self._is_silent or self._is_deaf):
            await race(self._quiet(), _last_moment(closing))
        if not self._is_silent:
            self._failures = 0
        self._settled = True

    async def _quiet(self) -> None:
        try:
            await asyncio.wait_for(self._came_back.wait(), SETTLE_S)
        except TimeoutError:
            self._is_deaf = True
        else:
            await asyncio.sleep(0.0 if self._settled else ANSWER_S)

    def _hear(self, payload: bytes) -> None:
        who, wants_answer = self._station.presence.hear(payload)
        if who == "own":
            self._came_back.set()
            self._is_deaf = False
        elif who == "earlier" and self._station.rename():
            self._settled = False
            self.moved.set()
        elif who == "later" and wants_answer:
            self._answer.set()
            self._on_greeting()


async def _last_moment(closing: asyncio.Event) -> None:
    await closing.wait()
    await asyncio.sleep(CLOSING_S)


async def wait(event: asyncio.Event) -> None:
    """Return when `event` is set."""
    await event.wait()
