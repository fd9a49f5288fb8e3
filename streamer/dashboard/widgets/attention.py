"""The attention panel: the attention weights over the newest window."""

from collections.abc import Sequence

from streamer.constants import FRAME_RATE
from streamer.dashboard.drawing import Line, Span, axis, column, merge_cells
from streamer.dashboard.view import View
from streamer.dashboard.widgets.canvas import Canvas
from streamer.feed.interpret import inferred

STEPS_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
EVEN = 0.5  # height of a frame whose weight is exactly an even share


class AttentionStrip(Canvas):
    """Draws one column per moment of the window, oldest left; half height is an even share of the weight."""

    def on_mount(self) -> None:
        self.border_title = "Attention · weights over the newest window"

    def key(self, view: View) -> object:
        return (view.stream and view.stream.attention, inferred(view.stream), view.snapshot.info, view.absent)

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        weights = view.stream.attention if view.stream and inferred(view.stream) else None
        info = view.snapshot.info
        window_s = info.window_s if info else len(weights or ()) / FRAME_RATE
        rows = max(1, height - 1)
        if not weights or not window_s:
            self.border_subtitle = ""
            blank: list[Line] = [()] * (rows - 1)
            return [*blank, ((view.absent if view.watching else "─" * width, "muted" if view.watching else "track"),)]
        self.border_subtitle = "half height: even share" if rows > 1 else ""
        heights = attention_heights(weights, max(len(weights), round(window_s * FRAME_RATE)), width)
        lines = attention_lines(heights, rows)
        if height > 1:
            lines.append(((axis(window_s, width, STEPS_S, lambda age_s: f"-{age_s:g} s"), "muted"),))
        return lines


def attention_heights(weights: Sequence[float], window_frames: int, columns: int) -> list[float | None]:
    """Return the height of each column, 0 to 1, oldest first; None where the window has no frames yet.

    A column's density d is its weight divided by an even share, and its height d / (1 + d): bounded without clipping,
    and one half for an even share at any window length. A frame on a border is split between its two columns.
    """
    missing = window_frames - len(weights)
    total = [0.0]  # cumulative weight before each frame
    for weight in weights:
        total.append(total[-1] + max(0.0, weight))
    even = total[-1] / len(weights) if weights else 0.0

    def before(frame: float) -> float:
        whole = min(int(frame), len(weights))
        part = (frame - whole) * (total[whole + 1] - total[whole]) if whole < len(weights) else 0.0
        return total[whole] + part

    heights: list[float | None] = []
    for x in range(columns):
        start = max(0.0, x * window_frames / columns - missing)
        end = (x + 1) * window_frames / columns - missing
        if end <= start or not even:
            heights.append(None)
        else:
            density = (before(end) - before(start)) / even / (end - start)  # their product could be 0
            heights.append(density / (1 + density))
    return heights


def attention_lines(heights: Sequence[float | None], rows: int) -> list[Line]:
    """Draw the columns as `rows` lines, top first; the part above an even share is in the stronger ink."""
    columns = [None if height is None else column(height, rows) for height in heights]
    lines = []
    for row in range(rows):
        cells: list[Span] = []
        for height, text in zip(heights, columns, strict=True):
            if height is None or text is None:
                cells.append(("─" if row == rows - 1 else " ", "track"))
            else:
                above = height > EVEN if rows == 1 else row < rows * EVEN
                cells.append((text[row], "accent" if above else "brand"))
        lines.append(merge_cells(cells))
    return lines
