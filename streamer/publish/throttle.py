"""How often the same thing is said again."""

from streamer.errors import UsageError
from streamer.events import Event, Health, State, Window

_EARLY = 0.95  # a sender that keeps the same beat itself must not be halved by its jitter


class Throttle:
    """Thins events by their own time, so that real time and `--fast` give the same messages.

    A state goes out when it changes, at once, and otherwise as a heartbeat; likewise health when its status changes; of
    the windows every n-th. Transitions and info always go out. So a sender may hand over all it has.
    """

    def __init__(self, window_every: int = 1, state_every_s: float = 10.0, health_every_s: float = 30.0) -> None:
        if window_every < 1:
            raise UsageError(f"window_every is {window_every}; it counts windows and begins at 1.")
        self._window_every = window_every
        self._every_s = {State: state_every_s, Health: health_every_s}
        self._last: dict[tuple[str, str], tuple[object, float]] = {}

    def due(self, event: Event) -> bool:
        """Whether `event` goes out. What goes out counts as said."""
        match event:
            case Window():
                return event.seq % self._window_every == 0
            case State():
                return self._changed_or_late(event, (event.label, event.since))
            case Health():
                return self._changed_or_late(event, event.status)
        return True

    def _changed_or_late(self, event: State | Health, content: object) -> bool:
        key = (event.stream, event.type)
        said, at = self._last.get(key, (None, 0.0))
        if key in self._last and said == content and 0 <= event.time - at < _EARLY * self._every_s[type(event)]:
            return False
        self._last[key] = (content, event.time)
        return True
