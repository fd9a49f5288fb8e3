"""Messages that the broker refuses: found by trying, then set aside, so that they do not block what comes behind."""

import time
from collections.abc import Callable
from dataclasses import dataclass

MAX_TRIES = 3  # in a row, each alone in flight
RETRY_S = 600.0  # after which a topic that was refused is tried again


@dataclass(slots=True)
class _Trouble:
    tries: int = 0
    refused_at: float | None = None


class Refusals:
    """Counts tries by a message's key: its topic, or for transitions their id, since each of them is sent but once.

    MQTT 3.1.1 has no answer for "no": a broker closes the connection, does not answer, or acknowledges and drops. The
    last cannot be seen.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._troubles: dict[str, _Trouble] = {}
        self._detail = ""

    @property
    def detail(self) -> str:
        """What was refused last and why, in one sentence; empty where nothing was."""
        return self._detail

    def passed(self, key: str) -> None:
        """Note that the broker took the message."""
        self._troubles.pop(key, None)

    def failed(self, key: str, topic: str, reason: str) -> bool:
        """Note that the connection broke with the message alone in flight; return whether that was the last try."""
        trouble = self._troubles.setdefault(key, _Trouble())
        trouble.tries += 1
        if trouble.tries < MAX_TRIES:
            return False
        trouble.refused_at = self._clock()
        self._detail = f"The broker refuses {topic}, which is set aside: {reason}"
        return True

    def is_refused(self, key: str) -> bool:
        """Return whether messages of this key are set aside for now."""
        trouble = self._troubles.get(key)
        if trouble is None or trouble.refused_at is None:
            return False
        if self._clock() - trouble.refused_at < RETRY_S:
            return True
        del self._troubles[key]
        return False
