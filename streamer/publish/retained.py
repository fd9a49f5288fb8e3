"""The retained messages of a monitor: what should stand on the broker, and what of it must still be sent."""

import threading


class RetainedMessages:
    """Keeps the newest payload of each topic; an empty one clears the topic. Nothing blocks. For several threads.

    One thread takes: what is taken counts as sent, until `repeat` says otherwise.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: dict[str, str] = {}
        self._due: dict[str, None] = {}  # topics, in the order in which they changed

    def put(self, topic: str, payload: str) -> bool:
        """Set what should stand on `topic`; return whether that is new."""
        with self._lock:
            if self._wanted.get(topic) == payload:
                return False
            self._wanted[topic] = payload
            self._due[topic] = None
            return True

    def take(self) -> tuple[str, str] | None:
        """Take the topic and payload that have waited longest to be sent; None where nothing waits."""
        with self._lock:
            topic = next(iter(self._due), None)
            if topic is None:
                return None
            del self._due[topic]
            return topic, self._wanted[topic]

    def cleared(self, topic: str) -> None:
        """Forget a topic whose empty message was taken: to clear it once is enough."""
        with self._lock:
            if self._wanted.get(topic) == "":
                del self._wanted[topic]

    def repeat(self, beginning: str = "") -> None:
        """Send everything again whose topic begins so: another broker, or another client of it, may have lost it."""
        with self._lock:
            self._due.update(dict.fromkeys(topic for topic in self._wanted if topic.startswith(beginning)))

    def clear(self) -> None:
        """Forget everything; nothing is sent."""
        with self._lock:
            self._wanted.clear()
            self._due.clear()
