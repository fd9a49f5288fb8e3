"""The message shown while there is no stream yet."""

from streamer.dashboard.drawing import Line, truncate
from streamer.dashboard.view import View
from streamer.dashboard.widgets.canvas import Canvas
from streamer.plain_text import printable


class Waiting(Canvas):
    """Draws what the screen is waiting for, in its middle."""

    def key(self, view: View) -> object:
        return (view.waiting_text, view.snapshot.broker.detail)

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        texts = [(view.waiting_text, "strong"), (view.snapshot.broker.detail if view.watching else "", "muted")]
        lines: list[Line] = [()] * max(0, height // 2 - 1)
        return [*lines, *(((truncate(printable(text), width).center(width), ink),) for text, ink in texts)]
