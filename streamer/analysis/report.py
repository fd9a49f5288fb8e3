"""Build a single HTML page with embedded pictures and a map of clips, which needs no network.

The page forbids itself to fetch anything but the clips: where a browser opens it from the disk, it plays them from
there.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from typing import Any

_POLICY = (
    "default-src 'none'; img-src data:; media-src 'self' file:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)
_MAP = """
<div class="controls">
<label>projection<select id="projection"></select></label>
<label>colour by<select id="colour"></select></label>
<label>label<select id="label"></select></label>
<label>speaker<select id="speaker"></select></label>
<label>corpus<select id="corpus"></select></label>
<label>name contains<input id="search" type="search"></label>
<span id="count"></span>
</div>
<canvas id="map" role="img" aria-label="map of the clips; the tables below name them"></canvas>
<p id="said">Point at a clip for its name, click to play it. Click a name below to hide its clips.</p>
<div id="legend"></div><div id="tip" hidden></div>
"""


@dataclass(slots=True)
class Page:
    """A page built from top to bottom; all text is escaped."""

    title: str
    about: str
    _parts: list[str] = field(default_factory=list)
    _clips: dict[str, Any] | None = None

    def heading(self, text: str) -> None:
        """Start a section."""
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def table(
        self, caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], clips: Sequence[int] = ()
    ) -> None:
        """Add a table, which scrolls by itself where it is wider than the screen; numbers are right-aligned.

        `clips` are the indices of the clips that its rows play on a click, for a page with a map.
        """
        head = "".join(f"<th>{escape(name)}</th>" for name in columns)
        plays = [f' data-clip="{index}" tabindex="0"' for index in clips]
        body = "".join(
            f"<tr{plays[number] if plays else ''}>{''.join(_cell(value) for value in row)}</tr>"
            for number, row in enumerate(rows)
        )
        table = f"<table><caption>{escape(caption)}</caption><tr>{head}</tr>{body}</table>"
        self._parts.append(f'<div class="scroll">{table}</div>')

    def picture(self, png: bytes, caption: str) -> None:
        """Add a PNG picture, embedded in the page."""
        source = f"data:image/png;base64,{b64encode(png).decode()}"
        text = escape(caption, quote=True)
        self._parts.append(f'<figure><img alt="{text}" src="{source}"><figcaption>{text}</figcaption></figure>')

    def clip_map(self, clips: dict[str, Any]) -> None:
        """Add the map, once a page. `clips` is what `report.js` reads, as `clip_map.map_data` makes it."""
        self._parts.append(_MAP)
        self._clips = clips

    def html(self) -> str:
        """Return the whole page."""
        title, style = escape(self.title), _resource("report.css")
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width"><title>{title}</title>'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><style>{style}</style></head>'
            f'<body><h1>{title}</h1><p class="about">{escape(self.about)}</p>{"".join(self._parts)}'
            f"{self._script()}</body></html>\n"
        )

    def _script(self) -> str:
        """Return the map's data and program; no name in the data can end the element it stands in."""
        if self._clips is None:
            return ""
        text = json.dumps(self._clips, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        safe = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
        return f'<script type="application/json" id="clips">{safe}</script><script>{_resource("report.js")}</script>'


def _resource(name: str) -> str:
    return (files("streamer.analysis") / name).read_text(encoding="utf-8")


def _cell(value: Any) -> str:
    text = str(value)
    number = text[:1].isdigit() or (text[:1] == "-" and len(text) > 1)
    return f'<td class="number">{escape(text)}</td>' if number else f"<td>{escape(text)}</td>"
