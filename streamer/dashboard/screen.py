"""The main screen of the dashboard: its panels and their shares of the terminal."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Footer

from streamer.dashboard.view import View
from streamer.dashboard.widgets.attention import AttentionStrip
from streamer.dashboard.widgets.canvas import Canvas
from streamer.dashboard.widgets.emotions import EmotionBars
from streamer.dashboard.widgets.header import Notice, StatusHeader
from streamer.dashboard.widgets.health import HealthPanel
from streamer.dashboard.widgets.level import LevelMeter
from streamer.dashboard.widgets.log import EventLog
from streamer.dashboard.widgets.streams import StreamStrip
from streamer.dashboard.widgets.timeline import Timeline
from streamer.dashboard.widgets.waiting import Waiting

SIDE_BY_SIDE_COLUMNS = 72  # narrower screens stack the emotions and the timeline
WIDE_COLUMNS = 110  # from here on the log and the health panel stand side by side
SHORT_ROWS, TALL_ROWS, TOWERING_ROWS = 22, 36, 46  # below SHORT_ROWS: no attention; from TALL_ROWS on: boxes


class MonitorScreen(Screen[None]):
    """Lays out the panels and draws one `View` at a time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.next_stream", show=False)
    ]  # Textual's tab would move the focus
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012  # Textual declares it as an instance variable
        (0, "-narrow"), (SIDE_BY_SIDE_COLUMNS, "-medium"), (WIDE_COLUMNS, "-wide"),
    ]  # fmt: skip
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-tiny"), (SHORT_ROWS, "-short"), (TALL_ROWS, "-tall"), (TOWERING_ROWS, "-towering"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._header = StatusHeader()
        self._emotions = EmotionBars(classes="panel")
        self._timeline = Timeline(classes="panel")
        self._log = EventLog(classes="panel")
        self._footer = Footer()
        self._waiting = Waiting()
        self._strip = StreamStrip()
        self._panels: tuple[Canvas | EventLog, ...] = (
            LevelMeter(classes="panel"), self._emotions, self._timeline, AttentionStrip(classes="panel"),
            self._log, HealthPanel(classes="panel"),
        )  # fmt: skip
        self._labels = 0

    def compose(self) -> ComposeResult:
        level, emotions, timeline, attention, log, health = self._panels
        yield self._header
        yield self._strip
        yield self._waiting
        with Vertical(id="panels"):
            yield level
            yield Horizontal(emotions, timeline, id="middle")
            yield attention
            yield Vertical(log, health, id="bottom")
        yield self._footer

    @property
    def timeline_columns(self) -> int:
        """How many columns of time the timeline has."""
        return self._timeline.columns

    def on_resize(self, event: events.Resize) -> None:
        self._arrange(event.size.width, event.size.height)

    def show(self, live: View, shown: View, notice: Notice) -> None:
        """Draw `live` in the header, which never freezes, and `shown` everywhere else."""
        waiting, many_streams = shown.stream is None, len(shown.snapshot.streams) > 1
        self.set_class(waiting, "-waiting")
        self.set_class(many_streams, "-many-streams")
        if len(shown.labels) != self._labels:
            self._labels = len(shown.labels)
            self._arrange(self.size.width, self.size.height)
        self._header.notice = notice
        self._header.show(live)
        if many_streams:
            self._strip.show(shown)
        for panel in (self._waiting,) if waiting else self._panels:
            panel.show(shown)

    def _arrange(self, columns: int, rows: int) -> None:
        emotions, timeline = middle_heights(self._labels, columns, rows)
        self._emotions.styles.height = emotions
        self._timeline.styles.height = timeline
        self._timeline.display = timeline > 0
        self._footer.show_command_palette = columns >= WIDE_COLUMNS


def middle_heights(labels: int, columns: int, rows: int) -> tuple[int, int]:
    """Return the heights of the emotions and the timeline in rows, frames included, for a screen of that size.

    Side by side, both get one row per label and one for the time axis; on a towering screen, two rows per label. On a
    narrow screen the timeline shrinks to a ribbon, and disappears where even that has no room. The two never take more
    than the other panels can spare.
    """
    tall, side_by_side = rows >= TALL_ROWS, columns >= SIDE_BY_SIDE_COLUMNS
    frame = 2 if tall else 1
    if tall:  # header 2, level 4, log 5, health 6, footer 1, and attention
        others = 18 + (9 if rows >= TOWERING_ROWS else 7 if side_by_side else 4)
    else:  # header 2, level 1, log 3, health 4, footer 1, and attention where it is shown
        others = 11 + (3 if side_by_side and rows >= SHORT_ROWS else -1)
    spare = max(3 + frame, rows - others)
    ribbon = 0 if side_by_side or rows < SHORT_ROWS else 2 + frame if tall else 1 + frame
    axis = 1 if side_by_side else 0
    wanted = max(3, labels) + axis + frame
    if rows >= TOWERING_ROWS and wanted + labels <= spare - ribbon:
        wanted += labels
    height = min(wanted, max(3 + frame, spare - ribbon))
    return height, height if side_by_side else ribbon
