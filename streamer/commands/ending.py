"""The wish of a signal's handler that the program may end."""

import time

POLL_S = 0.1


class EndWish:
    """Is set by a signal's handler and looked at by loops; takes no lock.

    A handler runs in the main thread, between two of its instructions. `threading.Event.set` there waits for ever where
    the main thread is within `wait` of the same event and has its lock: a moment that grows to seconds while another
    thread imports torch and keeps the interpreter to itself.
    """

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """Wish for the end."""
        self._set = True

    def is_set(self) -> bool:
        """Return whether the end was wished for."""
        return self._set

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the end is wished for, or for `timeout_s` seconds; return whether it is."""
        until = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while not self._set and (left_s := until - time.monotonic()) > 0:
            time.sleep(min(POLL_S, left_s))
        return self._set
