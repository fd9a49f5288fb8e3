"""The emotion panel: one probability bar per label, always in the model's order; bars that move cannot be read."""

from collections.abc import Mapping
from dataclasses import dataclass

from streamer.dashboard.drawing import Line, Span, bar, label_ink, pad
from streamer.dashboard.view import UNKNOWN, View
from streamer.dashboard.widgets.canvas import Canvas
from streamer.feed.interpret import CAPTURING, current_label, is_held
from streamer.plain_text import printable

NAME_CELLS = 9  # "surprised", the longest of the usual labels
MIN_COLUMN = 24  # narrower columns have no room for a bar: marker 2, name 9, number 5, and a bar of 8


@dataclass(frozen=True, slots=True)
class Current:
    """The label that the tracker holds; `held`: from before, for nobody speaks now."""

    label: str | None
    held: bool = False


class EmotionBars(Canvas):
    """Draws smoothed probabilities as bars, the newest window's raw ones as ticks, and ▶ at the current label.

    Where that is only held from before, ▷ stands there; where no audio is processed, there are no figures.
    """

    def key(self, view: View) -> object:
        stream = view.stream
        raw = stream.window.probs if stream and stream.window else None
        captured = stream is not None and (stream.status in CAPTURING, is_held(stream))
        return (view.labels, stream and stream.smoothed, raw, current_label(stream), captured, view.waiting_text)

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        stream = view.stream
        stopped = stream is None or stream.status not in (*CAPTURING, "ended")
        window = None if stream is None or stopped else stream.window
        smoothed = dict(stream.smoothed) if stream and stream.smoothed and not stopped else None
        raw = window.probs if window else None
        self.border_title = "Emotion" if smoothed or not raw else "Emotion · newest window"
        self.border_subtitle = "┃ newest window" if smoothed else ""
        if not view.labels:
            return [((view.waiting_text, "muted"),)]
        return emotion_lines(view.labels, smoothed, raw, Current(current_label(stream), is_held(stream)), width, height)


def emotion_lines(
    labels: tuple[str, ...],
    smoothed: Mapping[str, float] | None,
    raw: Mapping[str, float] | None,
    current: Current,
    width: int,
    height: int,
) -> list[Line]:
    """Draw one line per label, spread over `height`; in columns where there are more labels than rows."""
    columns = max(1, min(-(-len(labels) // max(1, height)), width // MIN_COLUMN))
    rows = -(-len(labels) // columns)
    fits = rows <= height
    if not fits:
        rows = max(1, height - 1)  # the last row holds the number of labels left out
    shown = labels[: rows * columns]
    pitch = max(1, height // rows) if fits else 1
    lines: list[Line] = [()] * (rows * pitch)
    column_width = width // columns - (columns > 1)
    for index, label in enumerate(shown):
        row = index % rows * pitch
        cell = _emotion(index, label, smoothed, raw, current, column_width)
        lines[row] = (*lines[row], *cell, (" ", ""))
    if not fits and height > 1:
        lines.append(((f"  and {len(labels) - len(shown)} more", "muted"),))
    return lines


def _emotion(
    index: int,
    label: str,
    smoothed: Mapping[str, float] | None,
    raw: Mapping[str, float] | None,
    current: Current,
    width: int,
) -> Line:
    ink = label_ink(index)
    value = (smoothed if smoothed is not None else raw or {}).get(label)
    tick = raw.get(label) if raw is not None and smoothed is not None else None
    weight = "" if label != current.label else "muted" if current.held else "strong"
    number: Span = (UNKNOWN.rjust(5), "muted") if value is None else (f"{value:5.2f}", weight)
    name: Span = (pad(printable(label), NAME_CELLS) + " ", weight)
    marker: Span = ("  ", "")
    if label == current.label:
        marker = ("▷ ", "muted") if current.held else ("▶ ", ink)
    room = max(0, width - 2 - NAME_CELLS - 1 - 5)
    return (marker, name, *bar(value or 0.0, room, ink, tick=tick), number)
