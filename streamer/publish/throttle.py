"""Rate-limit repeated events."""

from streamer.errors import UsageError
from streamer.events import Event, Health, State, Window

_EARLY = 0.95  # of an interval: the jitter of a sender with the same interval must not halve its rate


class Throttle:
    """Decides which events are sent, by the events' own time.

    A state is sent at once when it changes, and otherwise as a heartbeat; likewise health when its status changes; of
    the windows every n-th. Transitions and info are always sent. So a sender may pass every event it has.
    """

    def __init__(self, window_every: int = 1, state_every_s: float = 10.0, health_every_s: float = 30.0) -> None:
        if window_every < 1:
            raise UsageError(f"window_every is {window_every}; it counts windows and begins at 1.")
        self._window_every = window_every
        self._every_s = {State: state_every_s, Health: health_every_s}
        self._last: dict[tuple[str, str], tuple[object, float]] = {}  # (stream, type) → (content, time) as sent last

    def due(self, event: Event) -> bool:
        """Return whether to send `event`; True counts it as sent."""
        match event:
            case Window():
                return event.seq % self._window_every == 0
            case State():
                return self._changed_or_due(event, (event.label, event.since, event.leaning))
            case Health():
                return self._changed_or_due(event, event.status)
        return True

    def _changed_or_due(self, event: State | Health, content: object) -> bool:
        key = (event.stream, event.type)
        sent, at = self._last.get(key, (None, 0.0))
        if key in self._last and sent == content and 0 <= event.time - at < _EARLY * self._every_s[type(event)]:
            return False
        self._last[key] = (content, event.time)
        return True
