"""What waits to be sent, and what to give up when there is too much of it."""

import threading
from collections import deque
from dataclasses import dataclass

from streamer.events import Event, State, Transition

MAX_TRANSITIONS = 10_000  # hours of lively talk; a few megabytes


@dataclass(frozen=True, slots=True)
class Message:
    """An event on its way to a topic."""

    topic: str
    event: Event


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """What became of the messages: each is in exactly one of the three."""

    sent: int
    queued: int
    shed: int


class Outbox:
    """Transitions queue up, in order; of everything else only the newest of each topic waits. Nothing blocks.

    One thread puts, another takes. What is taken is settled by `sent`, `give_up` or, when the connection broke,
    `put_back`, before the next of its sort is taken. A transition is put back at the head of the queue, so the order
    survives, and what was perhaps delivered is delivered again under its own id.
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
        self._closed = False

    def put(self, message: Message) -> None:
        """Add one. The oldest transition, or the topic's previous telemetry, is shed where there is no room."""
        with self._lock:
            if self._closed:
                self._shed += 1
            elif isinstance(message.event, Transition):
                self._transitions.append(message)
                if len(self._transitions) > self._max_transitions:
                    self._transitions.popleft()
                    self._shed += 1
            else:
                self._shed += message.topic in self._telemetry
                self._telemetry[message.topic] = message

    def take_transition(self) -> Message | None:
        """The oldest transition, or None."""
        with self._lock:
            if not self._transitions:
                return None
            self._taken += 1
            return self._transitions.popleft()

    def take_telemetry(self) -> Message | None:
        """The message of the topic that waits longest, or None."""
        with self._lock:
            topic = next(iter(self._telemetry), None)
            if topic is None:
                return None
            self._taken += 1
            return self._telemetry.pop(topic)

    def sent(self, message: Message) -> None:
        """`message`, which was taken, is gone: acknowledged if it is a transition, else written."""
        with self._lock:
            self._taken -= 1
            self._sent += 1
            if isinstance(message.event, State):
                self._states[message.topic] = message

    def give_up(self, message: Message) -> None:
        """`message`, which was taken, can never be sent."""
        with self._lock:
            self._taken -= 1
            self._shed += 1

    def put_back(self, message: Message) -> None:
        """`message`, which was taken, was perhaps not delivered."""
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
        """Give up what is left; whatever is put from now on is shed."""
        with self._lock:
            self._closed = True
            self._shed += len(self._transitions) + len(self._telemetry)
            self._transitions.clear()
            self._telemetry.clear()

    def counts(self) -> OutboxCounts:
        """The counters now."""
        with self._lock:
            return OutboxCounts(self._sent, len(self._transitions) + len(self._telemetry) + self._taken, self._shed)
