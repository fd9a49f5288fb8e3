"""The event log: transitions, devices, the broker and losses; newest at the bottom, scrollable."""

from collections import deque

from textual import events
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from streamer.dashboard.drawing import Line, Span, printable
from streamer.dashboard.view import View, clock_time
from streamer.dashboard.widgets.canvas import Inked
from streamer.feed.snapshot import LogKind, LogLine

KEPT_LINES = 1000
LOG_MARKS: dict[LogKind, Span] = {
    "emotion": ("●", "brand"),
    "device": ("◆", "accent"),
    "broker": ("⇄", "accent"),
    "loss": ("┊", "bad"),
    "note": ("·", "muted"),
}


class EventLog(ScrollView, Inked, can_focus=True):
    """A bounded log that appends only lines with new numbers."""

    COMPONENT_CLASSES = Inked.COMPONENT_CLASSES  # Textual follows only the first base class

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.lines: deque[LogLine] = deque(maxlen=KEPT_LINES)
        self._many_streams = False

    def on_mount(self) -> None:
        self.border_title = "Events"

    def show(self, view: View) -> None:
        """Append new lines, and stay at the end if the view was there."""
        newest = self.lines[-1].number if self.lines else -1
        log = view.snapshot.log
        if log and log[-1].number < newest:  # another monitor behind the feed: its numbers start again at 0
            self.lines.clear()
            newest = -1
        fresh = [line for line in log if line.number > newest]
        many = len(view.snapshot.streams) > 1
        if not fresh and many == self._many_streams:
            return
        self._many_streams = many
        at_end = self.is_vertical_scroll_end
        self.lines.extend(fresh)
        self._fit()
        if at_end:
            self.scroll_end(animate=False)
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        at_end = self.is_vertical_scroll_end
        self._fit()
        if at_end:
            self.scroll_end(animate=False)

    def _fit(self) -> None:
        self.virtual_size = Size(self.scrollable_content_region.width, len(self.lines))

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        index = y + self.scroll_offset.y
        if index >= len(self.lines):
            return self.strip((), width)
        return self.strip(log_line(self.lines[index], self._many_streams), width)


def log_line(line: LogLine, many_streams: bool) -> Line:
    """Draw `16:30:05 ● desk happy started 0.71`; the stream is named only where there are several."""
    sign, ink = LOG_MARKS[line.kind]
    stream = f"{printable(line.stream)} " if many_streams and line.stream else ""
    text_ink = "bad" if line.kind == "loss" else ""
    return (
        (clock_time(line.time) + " ", "muted"),
        (sign + " ", ink),
        (stream, "strong"),
        (printable(line.text), text_ink),
    )
