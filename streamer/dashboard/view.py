"""What every part of the screen is drawn from: the snapshot, which stream is looked at, and how figures are written."""

import math
from dataclasses import dataclass
from datetime import datetime

from streamer.dashboard.drawing import Span
from streamer.events import Status
from streamer.feed.snapshot import Snapshot, StreamView

NOT_SENT = "not sent"  # a watcher's figure that the broker does not carry
UNKNOWN = "–"  # not known yet

#: A sign and an ink for each status, so that neither the colour nor the word stands alone.
STATUS_MARKS: dict[Status, Span] = {
    "starting": ("◌", "muted"),
    "warming": ("◔", "accent"),
    "live": ("●", "good"),
    "silence": ("○", "muted"),
    "no signal": ("◇", "warn"),
    "mic lost": ("✖", "bad"),
    "behind": ("▲", "warn"),
    "paused": ("‖", "accent"),
    "ended": ("■", "muted"),
}
HEARING: frozenset[Status] = frozenset({"warming", "live", "silence", "behind"})


@dataclass(frozen=True, slots=True)
class View:
    """One moment of the screen."""

    snapshot: Snapshot
    stream: StreamView | None
    labels: tuple[str, ...]  # in the model's order; empty until they are known
    watching: bool  # another program owns the microphone; figures may be missing for good
    timeline_s: float

    @property
    def absent(self) -> str:
        """What stands where a figure is None."""
        return NOT_SENT if self.watching else UNKNOWN

    @property
    def waiting_for(self) -> str:
        """Why there is nothing to see yet, in one line."""
        if self.watching:
            return f"waiting for a monitor on {self.snapshot.broker.url} …"
        return "loading the model …"


def labels_of(snapshot: Snapshot, stream: StreamView | None) -> tuple[str, ...]:
    """The labels in the model's order; a watcher that has not seen `info` yet takes a window's order."""
    if snapshot.info is not None:
        return snapshot.info.labels
    if stream is not None and stream.window is not None and stream.window.probs is not None:
        return tuple(stream.window.probs)
    return ()


def held_label(stream: StreamView | None) -> str | None:
    """The label that the tracker holds for true now; none where nothing is heard at all."""
    if stream is None or stream.state is None or stream.status not in HEARING:
        return None
    return stream.state.label


def clock_time(seconds: float) -> str:
    """`16:30:05` of the local day for seconds since the epoch."""
    return datetime.fromtimestamp(seconds).strftime("%H:%M:%S")


def duration(seconds: float) -> str:
    """`7 s`, `3 min`, `2 h 05 min`."""
    whole = max(0, math.floor(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def stopwatch(seconds: float) -> str:
    """`00:12:41`, with days in front once there are some."""
    whole = max(0, math.floor(seconds))
    days, rest = divmod(whole, 86_400)
    text = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days} d {text}" if days else text


def count(number: int) -> str:
    """A whole number with thin groups of thousands: `47,996`."""
    return f"{number:,}"
