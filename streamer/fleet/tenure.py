"""How long a shard may act: only while it has proof that it is not fenced.

The director renews it with each call. Where the director is silent, because it died or cannot be reached, the shard
asks the cluster's own store whether it was fenced. Without an answer from either for `HOLD_S` it stops by itself; the
director waits as long before it gives the streams of a fenced shard to others.
"""

import secrets
import threading
import time
from collections.abc import Callable

from streamer.fleet.leases import HOLD_S

LOOK_S = 0.8  # between two looks at the store while the director is silent


def monotonic_s() -> float:
    """Return seconds on a clock that goes on while the machine sleeps, where the system has one."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Tenure:
    """One incarnation of a shard after the other. For several threads.

    Args:
        clock: seconds; goes on while the process is stopped.
    """

    def __init__(self, clock: Callable[[], float] = monotonic_s) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._proven_at = clock()
        self.incarnation = secrets.token_hex(6)

    def begin(self) -> None:
        """Begin another incarnation."""
        with self._lock:
            self.incarnation, self._proven_at = secrets.token_hex(6), self._clock()

    @property
    def holds(self) -> bool:
        """Whether the shard may act now."""
        return self._clock() - self._proven_at < HOLD_S

    @property
    def wants_proof(self) -> bool:
        """Whether it is time to look at the store."""
        return self._clock() - self._proven_at >= LOOK_S

    def renew(self, asked_at: float | None = None) -> None:
        """Note a proof. `asked_at`: when the question was put that it answers; None: it was just given.

        A tenure that is over is not renewed.
        """
        with self._lock:
            if self.holds:
                self._proven_at = max(self._proven_at, self._clock() if asked_at is None else asked_at)

    def now(self) -> float:
        """Return the time on its clock."""
        return self._clock()
