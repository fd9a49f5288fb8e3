"""The statistics: how much was spoken, the share of each emotion, and how often they changed."""

from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.markup import escape
from textual.screen import ModalScreen

from streamer.dashboard.drawing import Line, bar, label_ink, pad
from streamer.dashboard.view import UNKNOWN, View, duration
from streamer.dashboard.widgets.canvas import Canvas
from streamer.feed.statistics import Statistics, statistics_of
from streamer.plain_text import printable

NAME_CELLS = 13
FIGURE_CELLS = 18


class StatisticsPanel(Canvas):
    """Draws the figures of the section on the timeline beside those of all that is known of the stream."""

    def key(self, view: View) -> object:
        return (view.labels, view.stream and view.stream.name, view.lens, int(view.now))

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        if view.stream is None:
            return []
        now, points = view.now, view.stream.timeline
        right = view.lens.right(now)
        oldest = points[0].time if points else now
        section = statistics_of(points, right - view.lens.span_s, right)
        whole = statistics_of(points, oldest, now)
        titles = (_title(view), f"all: {duration(now - oldest)}")
        lines = statistics_lines(view.labels, (section, whole), titles, width)
        self.styles.height = len(lines)
        return lines


class StatisticsScreen(ModalScreen[None]):
    """Shows the statistics, which go on, until one of its keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,s,enter", "dismiss", "close", tooltip="Back to the dashboard"),
        Binding("plus,equals_sign", "app.zoom(-1)", show=False),
        Binding("minus", "app.zoom(1)", show=False),
        Binding("shift+left", "app.page(-1)", show=False),
        Binding("shift+right", "app.page(1)", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._panel = StatisticsPanel()
        self._dialog = VerticalScroll(self._panel, classes="dialog")

    def compose(self) -> ComposeResult:
        self._dialog.border_subtitle = "+ − another section · esc closes"
        yield self._dialog

    def show(self, view: View) -> None:
        """Draw the figures of `view`."""
        self._dialog.border_title = (
            f"Statistics · {escape(printable(view.stream.name))}" if view.stream else "Statistics"
        )
        self._panel.show(view)


def statistics_lines(
    labels: tuple[str, ...], figures: tuple[Statistics, Statistics], titles: tuple[str, str], width: int
) -> list[Line]:
    """Draw the figures of two stretches of time as columns, the first with bars."""
    room = max(0, width - NAME_CELLS - 2 * FIGURE_CELLS - 1)

    def row(name: str, cells: Iterable[str], middle: Line) -> Line:
        first, second = (cell.rjust(FIGURE_CELLS) for cell in cells)
        return ((pad(name, NAME_CELLS), "muted"), *middle, (first, "strong"), (second, ""))

    blank: Line = ((" " * room, ""),)
    lines: list[Line] = [
        row("", titles, blank),
        *(row(name, tuple(map(text, figures)), blank) for name, text in _FIGURES.items()),
        (),
    ]
    for index, label in enumerate(labels):
        cells = tuple(_held(one, label) for one in figures)
        lines.append(row(printable(label), cells, bar(figures[0].share(label), room, label_ink(index))))
    return lines


def _title(view: View) -> str:
    return f"{'last' if view.lens.end is None else 'section of'} {duration(view.lens.span_s)}"


def _speech(figures: Statistics) -> str:
    share = figures.speech_s / figures.heard_s if figures.heard_s else 0.0
    return f"{duration(figures.speech_s)} {share:4.0%}"


def _transitions(figures: Statistics) -> str:
    hourly = figures.transitions_an_hour
    return f"{figures.transitions} · {UNKNOWN if hourly is None else f'{hourly:.0f}'}/h"


def _held(figures: Statistics, label: str) -> str:
    held_s = figures.held_s.get(label, 0.0)
    return f"{duration(held_s)} {figures.share(label):4.0%}" if held_s else UNKNOWN


_FIGURES: dict[str, Callable[[Statistics], str]] = {
    "heard": lambda figures: duration(figures.heard_s),
    "speech": _speech,
    "transitions": _transitions,
}
