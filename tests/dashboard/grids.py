"""The screen as text: the characters of every cell, and the colours and attributes they are drawn with.

A golden picture in this form is a few kB, is readable in review, and holds neither fonts nor class names nor anything
else that a patch of Textual may change.
"""

from collections.abc import Iterable
from itertools import groupby
from string import ascii_letters

from rich.cells import cell_len
from rich.style import Style

from streamer.dashboard.app import StreamerApp

ATTRIBUTES = ("bold", "dim", "italic", "underline", "reverse")


def grid_of(app: StreamerApp) -> str:
    """Describe the screen of `app`: its rows, then for each row the runs of styles, then what the styles are.

    A run is a style's name and its number of cells: `a2 b10` is two cells of style a, then ten of style b.
    """
    strips = app.screen._compositor.render_strips()  # what Textual's own export of a picture is made from
    styled = [
        [(style_text(segment.style), cell_len(segment.text)) for segment in strip if segment.text] for strip in strips
    ]
    names = names_of(style for row in styled for style, _ in row)
    rows = [strip.text for strip in strips]
    runs = [" ".join(f"{names[style]}{cells}" for style, cells in merged(row)) for row in styled]
    legend = [f"{name}  {style}" for style, name in names.items()]
    return "\n".join([*(f"|{row}|" for row in rows), "", *runs, "", *legend, ""])


def style_text(style: Style | None) -> str:
    """`#eb6b2c on #10141b bold`."""
    if style is None:
        return "default"
    colours = [colour.get_truecolor().hex if colour else "default" for colour in (style.color, style.bgcolor)]
    return " ".join([" on ".join(colours), *(name for name in ATTRIBUTES if getattr(style, name))])


def names_of(styles: Iterable[str]) -> dict[str, str]:
    """A letter for each style, in order of appearance."""
    distinct = list(dict.fromkeys(styles))
    assert len(distinct) <= len(ascii_letters), "more styles than letters"
    return dict(zip(distinct, ascii_letters, strict=False))


def merged(row: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Neighbouring runs of the same style as one."""
    return [(style, sum(cells for _, cells in group)) for style, group in groupby(row, key=lambda run: run[0])]
