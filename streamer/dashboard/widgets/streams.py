"""The stream strip: all streams in one row, shown where there are several."""

from streamer.dashboard.drawing import Line, clip, label_ink, line_width, truncate
from streamer.dashboard.view import STATUS_MARKS, UNKNOWN, View
from streamer.dashboard.widgets.canvas import Canvas
from streamer.feed.interpret import current_label, is_held
from streamer.feed.snapshot import StreamView
from streamer.plain_text import printable

NAME_CELLS = 16


class StreamStrip(Canvas):
    """Draws name, status and current label of each stream; the selected one is highlighted."""

    def key(self, view: View) -> object:
        chosen = view.stream and view.stream.name
        return (chosen, view.labels, tuple((s.name, s.status, current_label(s)) for s in view.snapshot.streams))

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        chosen = view.stream.name if view.stream else None
        return [strip_line(view.snapshot.streams, chosen, view.labels, width)]


def strip_line(streams: tuple[StreamView, ...], chosen: str | None, labels: tuple[str, ...], width: int) -> Line:
    """Draw the streams side by side; where they do not fit, those left of the chosen one are dropped first."""
    tabs = [_stream_tab(stream, stream.name == chosen, labels) for stream in streams]
    at = next((i for i, stream in enumerate(streams) if stream.name == chosen), 0)
    first = 0
    while first < at and sum(map(line_width, tabs[first : at + 1])) + 4 > width:
        first += 1
    head: Line = ((f"‹{first} ", "muted"),) if first else ()
    line: Line = (*head, *(span for tab in tabs[first:] for span in tab))
    if line_width(line) <= width:
        return line
    return (*clip(line, width - 2), (" ›", "muted"))


def _stream_tab(stream: StreamView, chosen: bool, labels: tuple[str, ...]) -> Line:
    sign, ink = STATUS_MARKS[stream.status]
    current = current_label(stream)
    label_inks = label_ink(labels.index(current)) if current in labels and not is_held(stream) else "muted"
    name = truncate(printable(stream.name), NAME_CELLS)
    status = "" if stream.status == "live" else f"{stream.status} "
    return (
        (f" {name} ", "reverse strong" if chosen else "strong"),
        (f" {sign} {status}", ink),
        ((printable(current) if current else UNKNOWN) + "  ", label_inks),
    )
