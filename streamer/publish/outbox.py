"""Queue of unsent messages, with a limit past which the oldest are shed."""

import threading
from collections import deque
from dataclasses import dataclass

from streamer.events import Event, State, Transition

MAX_TRANSITIONS = 10_000  # hours of lively talk; a few megabytes


@dataclass(frozen=True, slots=True)
class Message:
    """An event and the topic it is published on."""

    topic: str
    event: Event


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """Counts of the messages by outcome: each message is in exactly one of the four."""

    sent: int
    queued: int
    shed: int
    refused: int = 0


class Outbox:
    """Queues transitions in order, and of all other events (telemetry) the newest of each topic. Nothing blocks.

    One thread puts, another takes. Each message taken is completed by `sent`, `give_up`, `refuse` or, when the
    connection broke, `put_back`, before the next of its kind (transition or telemetry) is taken. A transition is put
    back at the head of the queue, so the order is kept, and one that was perhaps delivered is delivered again under its
    own id.
    """

    def __init__(self, max_transitions: int = MAX_TRANSITIONS) -> None:
        self._lock = threading.Lock()  # held for microseconds, never while anything is sent
        self._max_transitions = max_transitions
        self._transitions: deque[Message] = deque()
        self._telemetry: dict[str, Message] = {}
        self._states: dict[str, Message] = {}  # the newest state of each topic that was sent
        self._taken = 0
        self._sent = 0
        self._shed = 0
        self._refused = 0
        self._closed = False

    def put(self, message: Message, *, first: bool = False) -> None:
        """Add a message. Where there is no room, the oldest transition or the topic's previous telemetry is shed.

        Args:
            message: to be sent.
            first: a transition before those that wait.
        """
        with self._lock:
            if self._closed:
                self._shed += 1
            elif isinstance(message.event, Transition):
                (self._transitions.appendleft if first else self._transitions.append)(message)
                if len(self._transitions) > self._max_transitions:
                    self._transitions.popleft()
                    self._shed += 1
            else:
                self._shed += message.topic in self._telemetry
                self._telemetry[message.topic] = message

    def take_transition(self) -> Message | None:
        """Take the oldest transition, or None."""
        with self._lock:
            if not self._transitions:
                return None
            self._taken += 1
            return self._transitions.popleft()

    def take_telemetry(self) -> Message | None:
        """Take the telemetry of the topic that has waited longest, or None."""
        with self._lock:
            topic = next(iter(self._telemetry), None)
            if topic is None:
                return None
            self._taken += 1
            return self._telemetry.pop(topic)

    def sent(self, message: Message) -> None:
        """Complete `message`, which was taken: acknowledged if it is a transition, else written."""
        with self._lock:
            self._taken -= 1
            self._sent += 1
            if isinstance(message.event, State):
                self._states[message.topic] = message

    def give_up(self, message: Message) -> None:
        """Shed `message`, which was taken and can never be sent."""
        with self._lock:
            self._taken -= 1
            self._shed += 1

    def refuse(self, message: Message) -> None:
        """Set `message` aside, which was taken and which the broker does not take."""
        with self._lock:
            self._taken -= 1
            self._refused += 1
            self._states.pop(message.topic, None)

    def put_back(self, message: Message) -> None:
        """Queue `message` again, which was taken and perhaps not delivered."""
        with self._lock:
            self._taken -= 1
            if self._closed:
                self._shed += 1
            elif isinstance(message.event, Transition):
                if len(self._transitions) < self._max_transitions:
                    self._transitions.appendleft(message)
                else:
                    self._shed += 1
            else:
                self._shed += message.topic in self._telemetry
                self._telemetry.setdefault(message.topic, message)

    def repeat_states(self) -> None:
        """Queue every topic's newest state again: it may have been lost while the connection was breaking."""
        with self._lock:
            for topic, message in self._states.items():
                self._telemetry.setdefault(topic, message)

    def close(self) -> None:
        """Shed what is left, and whatever is put from now on."""
        with self._lock:
            self._closed = True
            self._shed += len(self._transitions) + len(self._telemetry)
            self._transitions.clear()
            self._telemetry.clear()

    def counts(self) -> OutboxCounts:
        """Return the counters now."""
        with self._lock:
            queued = len(self._transitions) + len(self._telemetry) + self._taken
            return OutboxCounts(self._sent, queued, self._shed, self._refused)
