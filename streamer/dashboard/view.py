"""The input of every widget: a snapshot with the selected stream, and how figures are formatted."""

import math
from dataclasses import dataclass
from datetime import datetime

from streamer.dashboard.drawing import Span
from streamer.dashboard.lens import Lens
from streamer.events import Status
from streamer.feed.snapshot import Snapshot, StreamView

NOT_SENT = "not sent"  # shown by a watcher for figures that the broker does not carry
UNKNOWN = "–"  # not known yet

#: A symbol and an ink for each status, so that no status depends on colour alone.
STATUS_MARKS: dict[Status, Span] = {
    "starting": ("◌", "muted"),
    "warming": ("◔", "accent"),
    "live": ("●", "good"),
    "silence": ("○", "muted"),
    "no signal": ("◇", "warn"),
    "no device": ("✖", "bad"),
    "mic lost": ("✖", "bad"),
    "source lost": ("✖", "bad"),
    "behind": ("▲", "warn"),
    "paused": ("‖", "accent"),
    "ended": ("■", "muted"),
}


@dataclass(frozen=True, slots=True)
class View:
    """Holds what the screen shows at one moment."""

    snapshot: Snapshot
    stream: StreamView | None
    labels: tuple[str, ...]  # in the model's order; empty until they are known
    watching: bool  # another program owns the microphone; figures may be missing for good
    lens: Lens  # on the timeline

    @property
    def now(self) -> float:
        """The moment at which the timeline ends, in seconds since the epoch."""
        time = self.snapshot.time
        return time if self.stream is None else self.stream.now(time)

    @property
    def absent(self) -> str:
        """The text shown where a figure is None."""
        return NOT_SENT if self.watching else UNKNOWN

    @property
    def waiting_text(self) -> str:
        """Why there is nothing to show yet, in one line."""
        if self.watching:
            broker = self.snapshot.broker
            malformed = f" ({count(broker.malformed)} malformed messages)" if broker.malformed else ""
            return f"waiting for a monitor on {broker.url} …{malformed}"
        return "loading the model …"


def clock_time(seconds: float) -> str:
    """Format seconds since the epoch as local time, `16:30:05`."""
    return datetime.fromtimestamp(seconds).strftime("%H:%M:%S")


def duration(seconds: float) -> str:
    """Format seconds roughly: `7 s`, `3 min`, `2 h 05 min`."""
    whole = max(0, math.floor(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    minutes = f" {whole % 3600 // 60:02d} min" if whole % 3600 >= 60 else ""
    return f"{whole // 3600} h{minutes}"


def elapsed(seconds: float) -> str:
    """Format seconds as `00:12:41`, with days in front from one day on."""
    whole = max(0, math.floor(seconds))
    days, rest = divmod(whole, 86_400)
    text = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days} d {text}" if days else text


def count(number: int) -> str:
    """Format a whole number with thousands separators: `47,996`."""
    return f"{number:,}"
