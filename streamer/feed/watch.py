"""The feed of `streamer watch`: the events that a broker carries, on the same board as the local monitor's."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from streamer.events import EmotionEnded, EmotionStarted, Event, Health, Info, State, Status, Transition, Window
from streamer.feed.board import Board
from streamer.feed.snapshot import BrokerStatus, BrokerView, Snapshot

MAX_NODES = 200
MAX_STREAMS = 200  # of all of them
MAX_REPORTED = 1_000  # topics whose malformed messages are logged

# Windows go on in these, or are still on their way; a health event says within a second or so when they are over.
_HEALTH_ALONE_KNOWS: frozenset[Status] = frozenset(
    {"no signal", "behind", "no device", "mic lost", "source lost", "paused"}
)


@dataclass(slots=True)
class _Node:
    """What is known of one monitor."""

    streams: set[str] = field(default_factory=set)  # on the board, as `node/stream`
    roster: tuple[str, ...] | None = None  # what its info lists; None: it sent none yet
    calibrated: tuple[str, ...] = ()  # those of them with a voice profile
    online: bool = True


@dataclass(slots=True)
class WatchFeed:
    """A `Feed` that is also the subscriber's sink. Streams are named `node/stream`.

    Anybody may publish: at most `MAX_NODES` monitors and `MAX_STREAMS` streams are shown. A new one takes the place of
    a monitor that is offline; where there is none, it is left out, which is logged once.
    """

    url: str  # without the password
    board: Board = field(default_factory=Board)
    _nodes: dict[str, _Node] = field(default_factory=dict)
    _full: bool = False  # something was left out
    _logged: deque[tuple[str, str, str]] = field(default_factory=lambda: deque(maxlen=100))  # transitions
    _link: tuple[BrokerStatus, str] = ("connecting", "")
    _malformed: int = 0
    _reported: set[str] = field(default_factory=set)  # topics of malformed messages

    def on_event(self, node: str, event: Event) -> None:
        """Record one event of `node`."""
        known = self._node(node)
        if known is None:
            return
        if isinstance(event, Info):
            known.calibrated = event.calibrated
            self._set_roster(node, known, event.streams)
            self.board.event(event)
            return
        if isinstance(event, EmotionStarted | EmotionEnded):
            mark = (node, event.id, event.event_type)
            if mark in self._logged:  # QoS 1: after a broken connection one transition may come twice
                return
            self._logged.append(mark)
        name = f"{node}/{event.stream}"
        if known.roster is not None and event.stream not in known.roster:
            if isinstance(event, EmotionEnded):
                self.board.event(event, stream=name)
            return  # sent before the stream was removed, and overtaken by the new roster
        if self._admits(known, name):
            self._show(known, name, event)

    def _show(self, node: _Node, name: str, event: Window | State | Health | Transition) -> None:
        node.streams.add(name)
        self.board.event(event, stream=name)
        self._mark_calibrated(node, name)
        show_status(self.board, name, event)

    def _node(self, name: str) -> _Node | None:
        """Return what is known of the monitor `name`, from now on; None where it has no place."""
        if name not in self._nodes:
            if len(self._nodes) >= MAX_NODES and not self._make_room(lambda node: True):
                self._leave_out()
                return None
            self._nodes[name] = _Node()
        return self._nodes[name]

    def _admits(self, node: _Node, stream: str) -> bool:
        """Return whether there is a place for `stream` of `node`."""
        shown = sum(len(other.streams) for other in self._nodes.values())
        if stream in node.streams or shown < MAX_STREAMS:
            return True
        if self._make_room(lambda other: other is not node and bool(other.streams)):
            return True
        self._leave_out()
        return False

    def _make_room(self, may_go: Callable[[_Node], bool]) -> bool:
        """Forget a monitor that is offline; return whether there was one."""
        gone = next((name for name, node in self._nodes.items() if not node.online and may_go(node)), None)
        if gone is None:
            return False
        for stream in self._nodes.pop(gone).streams:
            self.board.forget(stream)
        return True

    def _leave_out(self) -> None:
        if not self._full:
            self._full = True
            self.board.log(
                "note",
                f"More than {MAX_NODES} monitors or {MAX_STREAMS} streams publish here, and some are not shown; name "
                "one with --node.",
            )

    def _set_roster(self, name: str, node: _Node, streams: tuple[str, ...]) -> None:
        """Remove the streams that the monitor `name` no longer lists."""
        node.roster = streams
        listed = {f"{name}/{stream}" for stream in streams}
        for stream in node.streams - listed:
            self.board.forget(stream)
        node.streams &= listed
        for stream in node.streams:
            self._mark_calibrated(node, stream)

    def _mark_calibrated(self, node: _Node, stream: str) -> None:
        self.board.update(stream, calibrated=stream.partition("/")[2] in node.calibrated)

    def on_availability(self, node: str, online: bool) -> None:
        """Record the node's availability message: its own, or its will."""
        self.board.log("note", f"{node} is {'online' if online else 'offline'}")
        known = self._node(node)
        if known is None:
            return
        known.online = online
        if not online:
            for name in known.streams:
                self.board.status(name, "ended", f"The monitor on {node} is offline; this shows its last windows.")

    def on_link(self, status: BrokerStatus, detail: str) -> None:
        """Record the state of our own connection to the broker."""
        self._link = status, detail
        self._show_broker()

    def on_malformed(self, topic: str, reason: str) -> None:
        """Count a message that is not a valid event, and log the first of each topic."""
        self._malformed += 1
        self._show_broker()
        if topic not in self._reported and len(self._reported) < MAX_REPORTED:
            self._reported.add(topic)
            self.board.log("note", f"{topic}: {reason}")

    def _show_broker(self) -> None:
        status, detail = self._link
        self.board.broker(BrokerView(self.url, status, detail, None, None, None, malformed=self._malformed))

    def snapshot(self) -> Snapshot:
        """Return the newest state of everything."""
        return self.board.snapshot()


def show_status(board: Board, name: str, event: Window | State | Health | Transition) -> None:
    """Show the status of the stream `name` as far as `event` tells it."""
    if isinstance(event, Window):
        if board.status_of(name) not in _HEALTH_ALONE_KNOWS:
            board.status(name, _status(event))
    elif isinstance(event, Health):
        board.status(name, event.status, device=event.device)


def _status(window: Window) -> Status:
    if window.warming:
        return "warming"
    return "silence" if window.probs is None else "live"
