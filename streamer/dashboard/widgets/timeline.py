"""The timeline: the tracker's label over the last minutes, with gaps and lost audio."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from streamer.dashboard.drawing import Line, Span, axis, column, label_ink, merge_cells, pad, printable
from streamer.dashboard.view import View, duration
from streamer.dashboard.widgets.canvas import Canvas
from streamer.feed.snapshot import TimelinePoint

LOST = "┊"
STEPS_S = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
MIN_HEIGHT = 0.25  # a label is never drawn lower, however low its confidence


@dataclass(frozen=True, slots=True)
class Bin:
    """Holds what one column of the timeline shows."""

    label: str | None = None
    confidence: float = 1.0
    lost: bool = False


class Timeline(Canvas):
    """Draws one lane per label, marks as high as the confidence; a single ribbon with names where lanes do not fit."""

    def key(self, view: View) -> object:
        points = view.stream.timeline if view.stream else ()
        bin_s = view.timeline_s / max(1, self.content_size.width)
        return (view.labels, points, right_edge(view.snapshot.time, bin_s), view.timeline_s)

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        self.border_title = f"Timeline · {duration(view.timeline_s)}"
        self.border_subtitle = f"{LOST} lost audio" if height > 2 else ""
        points = view.stream.timeline if view.stream else ()
        lanes = 0 < len(view.labels) < height
        name_cells = (10 if width >= 56 else 4) if lanes else 0
        columns = max(1, width - name_cells)
        bins = bins_of(points, view.snapshot.time, view.timeline_s, columns)
        ages: Line = ((" " * name_cells + axis(view.timeline_s, columns, STEPS_S, age_text), "muted"),)
        if not lanes:
            return [ribbon(bins, view.labels), *([ages] if height > 1 else [])]
        pitch = max(1, (height - 1) // len(view.labels))
        lines: list[Line] = []
        for index, label in enumerate(view.labels):
            name: Span = (pad(printable(label)[: name_cells - 1], name_cells), "muted")
            lines += [(name, *lane(bins, label, label_ink(index)))]
            lines += [((" " * name_cells, ""), *lane(bins, None, ""))] * (pitch - 1)
        return [*lines, ages]


def right_edge(now: float, bin_s: float) -> int:
    """Return the index, counted from the epoch, of the bin that holds `now`: bins do not move as time passes."""
    return math.floor(now / bin_s)


def bins_of(points: Sequence[TimelinePoint], now: float, span_s: float, columns: int) -> list[Bin]:
    """Sort the points into `columns` bins of equal length, oldest first; the last one holds `now`.

    A bin shows the label of most of its points, and is a gap where most have none. One lost point marks the whole bin,
    because a loss must never be averaged away.
    """
    bin_s = span_s / columns
    first = right_edge(now, bin_s) - columns + 1
    found: list[list[TimelinePoint]] = [[] for _ in range(columns)]
    for point in reversed(points):
        index = math.floor(point.time / bin_s) - first
        if index < 0:
            break
        if index < columns:
            found[index].append(point)
    return [_summarize(inside) if inside else Bin() for inside in found]


def lane(bins: Sequence[Bin], label: str | None, ink: str) -> Line:
    """Draw the row of one label; with no label, only the marks of lost audio."""
    cells: list[Span] = []
    for bin in bins:
        if label is not None and bin.label == label:
            cells.append((column(max(MIN_HEIGHT, bin.confidence), 1), ink))
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


def _summarize(inside: Sequence[TimelinePoint]) -> Bin:
    lost = any(point.lost for point in inside)
    label, _ = Counter(point.label for point in inside).most_common(1)[0]
    if label is None:
        return Bin(lost=lost)
    sure = [point.confidence for point in inside if point.label == label and point.confidence is not None]
    return Bin(label, sum(sure) / len(sure) if sure else 1.0, lost)
