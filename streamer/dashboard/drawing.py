"""Draw lines of styled text, bars, columns and axes with pure functions of numbers and widths.

Textual's own Sparkline stretches its data to the full height, so that room noise looks like shouting; here every scale
is fixed. A line is plain data, so two frames can be compared and only what changed is redrawn.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from rich.cells import cell_len, set_cell_size

Span = tuple[str, str]  # text, and its inks separated by spaces ("" is the widget's own style); see dashboard.tcss
Line = tuple[Span, ...]

EIGHTHS_RIGHT = " ▏▎▍▌▋▊▉█"  # cells filled from the left, by eighths
EIGHTHS_UP = " ▁▂▃▄▅▆▇█"  # cells filled from below, by eighths

LABEL_INKS = 8  # number of label colours; further labels repeat them and differ by name and position


def label_ink(index: int) -> str:
    """Return the ink of the label at `index` in the model's order."""
    return f"label-{index % LABEL_INKS}"


def truncate(text: str, width: int) -> str:
    """Shorten `text` to at most `width` cells, ending in … where it does not fit."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def pad(text: str, width: int) -> str:
    """Truncate or pad `text` to exactly `width` cells."""
    return set_cell_size(truncate(text, width), max(width, 0))


def line_width(line: Line) -> int:
    """Return the width of `line` in cells."""
    return sum(cell_len(text) for text, _ in line)


def clip(line: Line, width: int) -> Line:
    """Return the first `width` cells of `line`."""
    clipped: list[Span] = []
    left = width
    for text, inks in line:
        if left <= 0:
            break
        kept = text if cell_len(text) <= left else set_cell_size(text, left)
        clipped.append((kept, inks))
        left -= cell_len(kept)
    return tuple(clipped)


def justify(left: Line, right: Line, width: int) -> Line:
    """Set `left` and `right` at the edges of `width` cells; `left` is clipped where both do not fit."""
    room = max(0, width - line_width(right))
    left = clip(left, room)
    gap = room - line_width(left)
    return (*left, (" " * gap, ""), *clip(right, width))


def join(lines: Iterable[Line], between: Span) -> Line:
    """Join several lines into one, separated by `between`."""
    result: list[Span] = []
    for line in lines:
        if result:
            result.append(between)
        result.extend(line)
    return tuple(result)


def merge_cells(cells: Sequence[Span]) -> Line:
    """Merge single cells into a line: neighbours of the same ink become one span."""
    return tuple(("".join(char for char, _ in group), inks) for inks, group in groupby(cells, key=lambda cell: cell[1]))


def share_to_cells(share: float, width: int) -> float:
    """Return how many of `width` cells a share fills; the share is clamped to 0 to 1."""
    return min(1.0, max(0.0, share)) * width


def bar(share: float, width: int, ink: str, track_ink: str = "track", tick: float | None = None) -> Line:
    """Draw a horizontal bar of `width` cells, exact to an eighth of a cell, with a tick at the share `tick`."""
    eighths = round(share_to_cells(share, width) * 8)
    full, rest = divmod(eighths, 8)
    cells: list[Span] = [("█", ink)] * full
    if rest:
        cells.append((EIGHTHS_RIGHT[rest], ink))
    cells += [("─", track_ink)] * (width - len(cells))
    if tick is not None and width:
        at = min(width - 1, int(share_to_cells(tick, width)))
        cells[at] = ("┃", f"{ink} reverse") if at < full else ("┃", "tick")
    return merge_cells(cells)


def column(share: float, rows: int) -> str:
    """Draw a vertical bar of `rows` cells, top first, exact to an eighth; never empty for a share above 0."""
    eighths = round(share_to_cells(share, rows) * 8)
    if share > 0:
        eighths = max(1, eighths)
    return "".join(EIGHTHS_UP[min(8, max(0, eighths - 8 * below))] for below in reversed(range(rows)))


def axis(
    span: float,
    width: int,
    steps: Sequence[float],
    text: Callable[[float], str],
    spacing: int = 10,
    newest: str = "now",
) -> str:
    """Draw a time axis of `width` cells that ends at `newest`, labelled at round steps at least `spacing` cells apart.

    Args:
        span: age of the left end, in the unit of `steps`
        steps: distances between labels to choose from, ascending
        text: returns the label of an age
    """
    cells = list(" " * width)
    taken = width  # the leftmost cell that is already written on
    step = next((s for s in steps if s / span * width >= spacing), span)
    for age in (step * k for k in range(int(span / step + 1e-9) + 1)):
        label = text(age) if age else newest
        tick = width - 1 - age / span * (width - 1)
        start = min(max(0, math.floor(tick - len(label) / 2 + 0.5)), width - len(label))
        if start >= 0 and start + len(label) < taken + (age == 0):
            cells[start : start + len(label)] = label
            taken = start
    return "".join(cells)
