"""The event log: transitions, devices, the broker and losses; newest at the bottom, scrollable."""

import textwrap
from collections import deque

from textual import events
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from streamer.dashboard.drawing import Line, Span
from streamer.dashboard.view import View, clock_time
from streamer.dashboard.widgets.canvas import Inked
from streamer.feed.snapshot import LogKind, LogLine
from streamer.plain_text import printable

KEPT_LINES = 1000
LOG_MARKS: dict[LogKind, Span] = {
    "emotion": ("●", "brand"),
    "device": ("◆", "accent"),
    "broker": ("⇄", "accent"),
    "loss": ("┊", "bad"),
    "note": ("·", "muted"),
}


class EventLog(ScrollView, Inked, can_focus=True):
    """A bounded log of wrapped lines, which stays at its end until somebody scrolls up."""

    COMPONENT_CLASSES = Inked.COMPONENT_CLASSES  # Textual follows only the first base class

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.lines: deque[LogLine] = deque(maxlen=KEPT_LINES)
        self._rows: list[Line] = []
        self._many_streams = False
        self._follows = True  # the newest line stays in view

    def on_mount(self) -> None:
        self.border_title = "Events"

    def show(self, view: View) -> None:
        """Take in what is new in the log, and stay at its end unless somebody has scrolled up."""
        log = view.snapshot.log
        many = len(view.snapshot.streams) > 1
        newest = self.lines[-1].number if self.lines else -1
        if many == self._many_streams and (log[-1].number if log else -1) == newest:
            return
        self._many_streams = many
        again = bool(log) and log[-1].number < newest  # another monitor behind the feed: its numbers begin anew
        folded = {(line.kind, line.stream, line.text) for line in log if line.count > 1}
        older = [
            line
            for line in self.lines
            if not again and log and line.number < log[0].number and (line.kind, line.stream, line.text) not in folded
        ]
        self.lines.clear()
        self.lines.extend([*older, *log])
        self._fit()

    def on_resize(self, event: events.Resize) -> None:
        self._fit()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._follows = self.is_vertical_scroll_end

    def _fit(self) -> None:
        """Wrap the lines to the width. It scrolls at once: behind a dialog nothing is laid out until that closes."""
        follows = self._follows
        width = self.scrollable_content_region.width
        self._rows = [row for line in self.lines for row in log_rows(line, self._many_streams, width)]
        self.virtual_size = Size(width, len(self._rows))
        if follows:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)
            self._follows = True
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        index = y + self.scroll_offset.y
        return self.strip(self._rows[index] if index < len(self._rows) else (), width)


def log_rows(line: LogLine, many_streams: bool, width: int) -> list[Line]:
    """Draw `16:30:05 ● desk happy started 0.71`, wrapped; the stream is named only where there are several."""
    sign, ink = LOG_MARKS[line.kind]
    stream = f"{printable(line.stream)} " if many_streams and line.stream else ""
    text_ink = "bad" if line.kind == "loss" else ""
    times = f" ×{line.count}" if line.count > 1 else ""
    moment = clock_time(line.time) + " "
    indent = len(moment) + 2
    # The stream's name takes part in the wrapping as signs that cannot break.
    wrapped = textwrap.wrap("\0" * len(stream) + printable(line.text) + times, max(8, width - indent)) or [""]
    wrapped[0] = wrapped[0].removeprefix("\0" * len(stream))
    if times and wrapped[-1].endswith(times.strip()):
        wrapped[-1] = wrapped[-1][: -len(times.strip())]
    rows: list[Line] = [((moment, "muted"), (sign + " ", ink), (stream, "strong"), (wrapped[0], text_ink))]
    rows += [((" " * indent, ""), (more, text_ink)) for more in wrapped[1:]]
    if times:
        rows[-1] = (*rows[-1], (times.strip(), "accent"))
    return rows
