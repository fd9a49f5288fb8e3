"""The feed of `streamer watch`: the events that a broker carries, on the same board as the local monitor's."""

from collections import deque
from dataclasses import dataclass, field

from streamer.events import EmotionEnded, EmotionStarted, Event, Health, Info, Status, Window
from streamer.feed.board import Board
from streamer.feed.snapshot import BrokerStatus, BrokerView, Snapshot

# Windows go on in these, or are still on their way; a health event says within a second or so when they are over.
_HEALTH_ALONE_KNOWS: frozenset[Status] = frozenset(
    {"no signal", "behind", "no device", "mic lost", "source lost", "paused"}
)


@dataclass(slots=True)
class WatchFeed:
    """A `Feed` that is also the subscriber's sink. Streams are named `node/stream`."""

    url: str  # without the password
    board: Board = field(default_factory=Board)
    _streams: dict[str, set[str]] = field(default_factory=dict)  # node → its streams
    _rosters: dict[str, tuple[str, ...]] = field(default_factory=dict)  # node → what its info lists
    _calibrated: dict[str, tuple[str, ...]] = field(default_factory=dict)  # node → those with a voice profile
    _logged: deque[tuple[str, str, str]] = field(default_factory=lambda: deque(maxlen=100))  # transitions

    def on_event(self, node: str, event: Event) -> None:
        """Record one event of `node`."""
        if isinstance(event, Info):
            self._calibrated[node] = event.calibrated
            self._set_roster(node, event.streams)
            self.board.event(event)
            return
        if isinstance(event, EmotionStarted | EmotionEnded):
            mark = (node, event.id, event.event_type)
            if mark in self._logged:  # QoS 1: after a broken connection one transition may come twice
                return
            self._logged.append(mark)
        name = f"{node}/{event.stream}"
        if event.stream not in self._rosters.get(node, (event.stream,)):
            if isinstance(event, EmotionEnded):
                self.board.event(event, stream=name)
            return  # sent before the stream was removed, and overtaken by the new roster
        self._streams.setdefault(node, set()).add(name)
        self.board.event(event, stream=name)
        self._mark_calibrated(node, name)
        if isinstance(event, Window):
            if self.board.status_of(name) not in _HEALTH_ALONE_KNOWS:
                self.board.status(name, _status(event))
        elif isinstance(event, Health):
            self.board.status(name, event.status, device=event.device)

    def _set_roster(self, node: str, streams: tuple[str, ...]) -> None:
        """Remove the streams that the node no longer lists."""
        self._rosters[node] = streams
        listed = {f"{node}/{stream}" for stream in streams}
        for name in self._streams.get(node, set()) - listed:
            self.board.forget(name)
        self._streams[node] = self._streams.get(node, set()) & listed
        for name in self._streams[node]:
            self._mark_calibrated(node, name)

    def _mark_calibrated(self, node: str, name: str) -> None:
        self.board.update(name, calibrated=name.removeprefix(f"{node}/") in self._calibrated.get(node, ()))

    def on_availability(self, node: str, online: bool) -> None:
        """Record the node's availability message: its own, or its will."""
        self.board.log("note", f"{node} is {'online' if online else 'offline'}")
        if not online:
            for name in self._streams.get(node, ()):
                self.board.status(name, "ended", f"The monitor on {node} is offline; this shows its last windows.")

    def on_link(self, status: BrokerStatus, detail: str) -> None:
        """Record the state of our own connection to the broker."""
        self.board.broker(BrokerView(self.url, status, detail, None, None, None))

    def on_malformed(self, topic: str, reason: str) -> None:
        """Log a message that is not a valid event."""
        self.board.log("note", f"{topic}: {reason}")

    def snapshot(self) -> Snapshot:
        """Return the newest state of everything."""
        return self.board.snapshot()


def _status(window: Window) -> Status:
    if window.warming:
        return "warming"
    return "silence" if window.probs is None else "live"
