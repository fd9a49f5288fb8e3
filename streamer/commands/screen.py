"""The terminal as the commands print on it: text from outside has no markup and no control characters."""

from typing import Any

from rich.console import Console
from rich.text import Text

from streamer.plain_text import printable


class Screen(Console):
    """A console on which every `str` is plain text; what shall be styled is a `Text` or a column's style."""

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False) -> None:
        super().__init__(stderr=stderr, soft_wrap=soft_wrap, markup=False, highlight=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return `text` as it may be shown; tables call this for each of their cells."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)
