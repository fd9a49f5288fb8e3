"""A friendly line while there is nothing to see yet."""

from streamer.dashboard.drawing import Line, cut, plain
from streamer.dashboard.view import View
from streamer.dashboard.widgets.canvas import Canvas


class Waiting(Canvas):
    """Says what is being waited for, in the middle of the screen."""

    def key(self, view: View) -> object:
        return (view.waiting_for, view.snapshot.broker.detail)

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        texts = [(view.waiting_for, "strong"), (view.snapshot.broker.detail if view.watching else "", "muted")]
        lines: list[Line] = [()] * max(0, height // 2 - 1)
        return [*lines, *(((cut(plain(text), width).center(width), ink),) for text, ink in texts)]
