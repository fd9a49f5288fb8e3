from streamer.dashboard.drawing import Line
from streamer.dashboard.lens import Lens
from streamer.dashboard.view import View
from streamer.feed.snapshot import StreamView
from tests.dashboard.scripted_feed import LABELS, empty_snapshot, snapshot, stream_view

DESK = stream_view("desk", 271.0)


def text(line: Line) -> str:
    return "".join(part for part, _ in line)


def texts(lines: list[Line]) -> str:
    return "\n".join(text(line) for line in lines)


def view_of(stream: StreamView | None = DESK, watching: bool = False) -> View:
    shown = snapshot(271.0, (stream,)) if stream else empty_snapshot()
    return View(shown, stream, LABELS, watching, Lens(300.0))
