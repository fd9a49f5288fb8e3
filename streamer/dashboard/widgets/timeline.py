"""The timeline: the tracker's labels over the last minutes or hours, with gaps, lost audio and a cursor."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

from textual import events

from streamer.dashboard.drawing import Line, Span, axis, column, label_ink, merge_cells, pad
from streamer.dashboard.lens import Lens
from streamer.dashboard.view import View, clock_time, duration
from streamer.dashboard.widgets.canvas import Canvas
from streamer.feed.snapshot import TimelinePoint
from streamer.feed.track import HOLD_S, span_end
from streamer.plain_text import printable

LOST = "┊"
STEPS_S = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 21_600.0)
MIN_HEIGHT = 0.25  # a label is never drawn lower, however low its confidence
REDRAWS = 1000  # a wide span changes slowly: it is drawn anew so often while its length passes
NO_LABEL = "no emotion"


@dataclass(frozen=True, slots=True)
class Bin:
    """Holds what one column of the timeline shows: every label that was held in it, however briefly."""

    held: Mapping[str, float] = field(default_factory=dict)  # label → mean confidence; the one held longest comes first
    lost: bool = False

    @property
    def label(self) -> str | None:
        """The label that was held longest; None where none was."""
        return next(iter(self.held), None)


@runtime_checkable
class MovesLens(Protocol):
    """The part of the app that the timeline's mouse uses."""

    def point_lens(self, columns_from_right: int) -> None:
        """Set the cursor on a column, counted from the right edge."""
        ...

    async def run_action(self, action: str) -> bool:
        """Run what a key would."""
        ...


class Timeline(Canvas):
    """Draws one lane per label, marks as high as the confidence; a single ribbon with names where lanes do not fit."""

    columns = 1  # of the plot, without the names: how many the last drawing had

    def key(self, view: View) -> object:
        points = view.stream.timeline if view.stream else ()
        now, lens = view.now, view.lens
        newest = points[-1] if points and lens.span_s < REDRAWS and lens.end is None else None
        return (view.labels, newest, lens, math.floor(now * REDRAWS / lens.span_s), view.stream and view.stream.name)

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        lens, now = view.lens, view.now
        points = view.stream.timeline if view.stream else ()
        lanes = 0 < len(view.labels) < height
        name_cells = (10 if width >= 56 else 4) if lanes else 0
        self.columns = columns = max(1, width - name_cells)
        right = lens.right(now)
        bins = bins_of(points, right, lens.span_s, columns)
        cursor = cursor_column(lens, now, columns)
        self.border_title = title(lens, now, bins, cursor)
        self.border_subtitle = f"{LOST} lost audio · ← → look back, + − zoom" if height > 2 and width >= 56 else ""
        shown = age_text if lens.end is None else (lambda age_s: clock_time(right - age_s)[:5])
        text = axis(lens.span_s, columns, STEPS_S, shown, newest="now" if lens.end is None else shown(0.0))
        ages: Line = ((" " * name_cells + text, "muted"),)
        if not lanes:
            return [marked(ribbon(bins, view.labels), cursor), *([ages] if height > 1 else [])]
        pitch = max(1, (height - 1) // len(view.labels))
        lines: list[Line] = []
        for index, label in enumerate(view.labels):
            name: Span = (pad(printable(label)[: name_cells - 1], name_cells), "muted")
            lines += [(name, *marked(lane(bins, label, label_ink(index)), cursor))]
            lines += [((" " * name_cells, ""), *marked(lane(bins, None, ""), cursor))] * (pitch - 1)
        return [*lines, ages]

    async def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        await self._wheel(event, -1)

    async def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        await self._wheel(event, 1)

    def on_click(self, event: events.Click) -> None:
        if isinstance(self.app, MovesLens):
            at = event.get_content_offset(self)
            if at is not None and self.content_size.width - at.x <= self.columns:
                self.app.point_lens(self.content_size.width - at.x - 1)

    async def _wheel(self, event: events.MouseEvent, direction: int) -> None:
        event.stop()
        if isinstance(self.app, MovesLens):
            await self.app.run_action(f"zoom({-direction})" if event.ctrl else f"page({direction})")


def title(lens: Lens, now: float, bins: Sequence[Bin], cursor: int | None) -> str:
    """Return `Timeline · 5 min`, and what the cursor stands on: `16:28:40 sad 0.62`."""
    text = f"Timeline · {duration(lens.span_s)}"
    if lens.end is not None:
        text += f" until {_moment(lens.end, now)}"
    if lens.cursor is None or cursor is None:
        return text
    under = bins[cursor]
    labels = ", ".join(f"{printable(label)} {confidence:.2f}" for label, confidence in under.held.items())
    lost = f" {LOST} lost audio" if under.lost else ""
    return f"{text} · ┃ {_moment(lens.cursor, now)} {labels or NO_LABEL}{lost}"


def _moment(seconds: float, now: float) -> str:
    """Format a moment as `16:28:40`, with its date where that is another day than now."""
    there = datetime.fromtimestamp(seconds)
    same = there.date() == datetime.fromtimestamp(now).date()
    return clock_time(seconds) if same else f"{there:%d %b} {clock_time(seconds)}"


def cursor_column(lens: Lens, now: float, columns: int) -> int | None:
    """Return the column of the cursor; None where there is none, or time has carried it off the left edge."""
    if lens.cursor is None:
        return None
    bin_s = lens.span_s / columns
    at = math.floor(lens.cursor / bin_s) - (right_edge(lens.right(now), bin_s) - columns + 1)
    return at if 0 <= at < columns else None


def marked(line: Line, cursor: int | None) -> Line:
    """Draw the cursor over a row of the plot."""
    if cursor is None:
        return line
    cells = [(char, inks) for text, inks in line for char in text]
    if cursor < len(cells):
        char, inks = cells[cursor]
        cells[cursor] = ("┃", "strong") if char in " ─" else (char, f"{inks} reverse")
    return merge_cells(cells)


def right_edge(now: float, bin_s: float) -> int:
    """Return the index, counted from the epoch, of the bin that holds `now`: bins do not move as time passes."""
    return math.floor(now / bin_s)


def bins_of(points: Sequence[TimelinePoint], now: float, span_s: float, columns: int) -> list[Bin]:
    """Sort the points into `columns` bins of equal length, oldest first; the last one holds `now`.

    A point stands for the time until the next one. A bin shows every label that was held in it, however briefly, and
    is a gap only where none was. One lost point marks the whole bin, because a loss must never be averaged away.
    """
    bin_s = span_s / columns
    first = right_edge(now, bin_s) - columns + 1
    held: list[dict[str, tuple[float, float]]] = [{} for _ in range(columns)]  # label → weight, weight x confidence
    lost: set[int] = set()
    begin = bisect_left(points, first * bin_s - HOLD_S, key=lambda point: point.time)
    for index in range(begin, len(points)):
        point = points[index]
        at = math.floor(point.time / bin_s) - first
        if at >= columns:
            break
        if point.lost and at >= 0:
            lost.add(at)
        if point.label is None:
            continue
        end = span_end(points, index, now)
        last = max(at, math.ceil(end / bin_s) - 1 - first)
        for place in range(max(0, at), min(columns - 1, last) + 1):
            inside_s = min(end, (first + place + 1) * bin_s) - max(point.time, (first + place) * bin_s)
            weight, sure = held[place].get(point.label, (0.0, 0.0))
            more = max(inside_s, 1e-6)  # an emotion that came and went between two windows is shown, too
            confidence = 1.0 if point.confidence is None else point.confidence
            held[place][point.label] = (weight + more, sure + more * confidence)
    return [_bin(labels, place in lost) for place, labels in enumerate(held)]


def _bin(held: Mapping[str, tuple[float, float]], lost: bool) -> Bin:
    longest_first = sorted(held.items(), key=lambda item: -item[1][0])
    return Bin({label: sure / weight for label, (weight, sure) in longest_first}, lost)


def lane(bins: Sequence[Bin], label: str | None, ink: str) -> Line:
    """Draw the row of one label; with no label, only the marks of lost audio."""
    cells: list[Span] = []
    for bin in bins:
        if label is not None and label in bin.held:
            cells.append((column(max(MIN_HEIGHT, bin.held[label]), 1), ink))
        else:
            cells.append((LOST, "bad") if bin.lost else (" ", ""))
    return merge_cells(cells)


def ribbon(bins: Sequence[Bin], labels: Sequence[str]) -> Line:
    """Draw all labels in one row: each stretch in its colour, with as much of its name as fits."""
    cells: list[Span] = []
    written = 0  # letters of the current stretch's name that are already drawn
    before = Bin()
    for bin in bins:
        written = 0 if bin.lost or before.lost or bin.label != before.label else written + 1
        before = bin
        if bin.lost:
            cells.append((LOST, "bad"))
        elif bin.label is None or bin.label not in labels:
            cells.append(("─", "track"))
        else:
            name = printable(bin.label) + " "
            cells.append((name[min(written, len(name) - 1)], f"{label_ink(labels.index(bin.label))} reverse"))
    return merge_cells(cells)


def age_text(seconds: float) -> str:
    """Format an age for the axis: `-4 min`, `-30 s`."""
    if seconds < 60:
        return f"-{seconds:.0f} s"
    if seconds < 3600:
        return f"-{seconds / 60:.3g} min"
    return f"-{seconds / 3600:.3g} h"
