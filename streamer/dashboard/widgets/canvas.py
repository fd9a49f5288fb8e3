"""Base classes of the hand-drawn widgets, which compare new lines with those on screen and repaint only changes."""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from streamer.dashboard.drawing import LABEL_INKS, Line, label_ink, line_width
from streamer.dashboard.view import View

INKS = (
    "muted", "track", "tick", "strong", "brand", "accent", "good", "warn", "bad", "reverse",
    *(label_ink(index) for index in range(LABEL_INKS)),
)  # fmt: skip


class Inked(Widget):
    """A widget that renders lines as strips, with the inks of dashboard.tcss."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"ink--{name}" for name in INKS}
    ALLOW_SELECT = False

    _ink_styles: dict[str, Style]

    def strip(self, line: Line, width: int) -> Strip:
        """Render `line` as a strip of exactly `width` cells."""
        segments = [Segment(text, self._ink_style(inks)) for text, inks in line if text]
        return Strip(segments, line_width(line)).adjust_cell_length(width, self._ink_style(""))

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._ink_styles = {}

    def _ink_style(self, inks: str) -> Style:
        style = self._ink_styles.get(inks)
        if style is None:
            style = self.visual_style.rich_style
            for name in inks.split():
                component = self.get_component_styles(f"ink--{name}")
                if component.has_rule("color") or component.has_rule("auto_color"):
                    blended = self.get_visual_style(f"ink--{name}").rich_style
                    style += Style(color=blended.color, dim=blended.dim)
                style += component.text_style
            self._ink_styles[inks] = style
        return style


class Canvas(Inked, can_focus=False):
    """A widget drawn from a `View` as lines."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._view: View | None = None
        self._key: object = None
        self._lines: list[Line] = []
        self._drawn_size = Size(0, 0)

    def key(self, view: View) -> object:
        """Return everything the drawing depends on; while it stays equal, nothing is redrawn."""
        raise NotImplementedError

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        """Draw the widget's lines from the top; missing ones are blank."""
        raise NotImplementedError

    def show(self, view: View) -> None:
        """Draw `view` and repaint only the rows that differ from those on screen."""
        self._view = view
        size = self.content_size
        key = self.key(view)
        if key == self._key and size == self._drawn_size:
            return
        lines = self.draw(view, size.width, size.height) if size else []
        rows = max(len(lines), len(self._lines))
        if size != self._drawn_size:
            self.refresh()
        else:
            changed = [y for y in range(rows) if lines[y : y + 1] != self._lines[y : y + 1]]
            if changed:
                self.refresh(*(Region(0, y, size.width, 1) for y in changed))
        self._lines, self._key, self._drawn_size = lines, key, size

    def on_resize(self, event: events.Resize) -> None:
        if self._view is not None:
            self.show(self._view)

    def render_line(self, y: int) -> Strip:
        line = self._lines[y] if y < len(self._lines) else ()
        return self.strip(line, self.content_size.width)
