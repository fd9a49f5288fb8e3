"""The probabilities of the emotions, in the model's order for ever: bars that change places cannot be read."""

from collections.abc import Mapping

from streamer.dashboard.drawing import Line, Span, bar, label_ink, pad, plain
from streamer.dashboard.view import UNKNOWN, View, held_label
from streamer.dashboard.widgets.canvas import Canvas

NAME_CELLS = 9  # "surprised", the longest of the usual labels
MIN_COLUMN = 24  # narrower columns have no room for a bar: marker 2, name 9, number 5, and a bar of 8


class EmotionBars(Canvas):
    """A bar per label: the tracker's smoothed value, the newest window's raw value as a tick, ▶ at the held label."""

    def key(self, view: View) -> object:
        stream = view.stream
        raw = stream.window.probs if stream and stream.window else None
        return (view.labels, stream and stream.smoothed, raw, held_label(view.stream), view.waiting_for)

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        window = view.stream.window if view.stream else None
        smoothed = dict(view.stream.smoothed) if view.stream and view.stream.smoothed else None
        raw = window.probs if window else None
        self.border_title = "Emotion" if smoothed or not raw else "Emotion · newest window"
        self.border_subtitle = "┃ newest window" if smoothed else ""
        if not view.labels:
            return [((view.waiting_for, "muted"),)]
        return emotion_lines(view.labels, smoothed, raw, held_label(view.stream), width, height)


def emotion_lines(
    labels: tuple[str, ...],
    smoothed: Mapping[str, float] | None,
    raw: Mapping[str, float] | None,
    held: str | None,
    width: int,
    height: int,
) -> list[Line]:
    """One line a label, spread over `height`; in columns where there are more labels than rows."""
    columns = max(1, min(-(-len(labels) // max(1, height)), width // MIN_COLUMN))
    rows = -(-len(labels) // columns)
    fits = rows <= height
    if not fits:
        rows = max(1, height - 1)  # the last row says how many are missing
    shown = labels[: rows * columns]
    pitch = max(1, height // rows) if fits else 1
    lines: list[Line] = [()] * (rows * pitch)
    column_width = width // columns - (columns > 1)
    for index, label in enumerate(shown):
        row = index % rows * pitch
        cell = _emotion(index, label, smoothed, raw, label == held, column_width)
        lines[row] = (*lines[row], *cell, (" ", ""))
    if not fits and height > 1:
        lines.append(((f"  and {len(labels) - len(shown)} more", "muted"),))
    return lines


def _emotion(
    index: int,
    label: str,
    smoothed: Mapping[str, float] | None,
    raw: Mapping[str, float] | None,
    held: bool,
    width: int,
) -> Line:
    ink = label_ink(index)
    value = (smoothed if smoothed is not None else raw or {}).get(label)
    tick = raw.get(label) if raw is not None and smoothed is not None else None
    number: Span = (UNKNOWN.rjust(5), "muted") if value is None else (f"{value:5.2f}", "strong" if held else "")
    name: Span = (pad(plain(label), NAME_CELLS) + " ", "strong" if held else "")
    marker: Span = ("▶ ", ink) if held else ("  ", "")
    room = max(0, width - 2 - NAME_CELLS - 1 - 5)
    return (marker, name, *bar(value or 0.0, room, ink, tick=tick), number)
