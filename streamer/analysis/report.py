"""Build a single HTML page with embedded pictures, which needs no network."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
p.about { color: #555; margin-top: 0.3rem; }
table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: left; font-weight: 600; padding-bottom: 0.3rem; }
th, td { padding: 0.3rem 0.9rem 0.3rem 0; text-align: left; border-bottom: 1px solid #ddd; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; }
figure { margin: 1.5rem 0; } figcaption { color: #555; }
"""


@dataclass(slots=True)
class Page:
    """A page built from top to bottom; all text is escaped."""

    title: str
    about: str
    _parts: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Start a section."""
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def table(self, caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add a table; cells that look like numbers are right-aligned."""
        head = "".join(f"<th>{escape(name)}</th>" for name in columns)
        body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
        self._parts.append(f"<table><caption>{escape(caption)}</caption><tr>{head}</tr>{body}</table>")

    def picture(self, png: bytes, caption: str) -> None:
        """Add a PNG picture, embedded in the page."""
        source = f"data:image/png;base64,{b64encode(png).decode()}"
        text = escape(caption, quote=True)
        self._parts.append(f'<figure><img alt="{text}" src="{source}"><figcaption>{text}</figcaption></figure>')

    def html(self) -> str:
        """Return the whole page."""
        title = escape(self.title)
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{_STYLE}</style></head>'
            f'<body><h1>{title}</h1><p class="about">{escape(self.about)}</p>{"".join(self._parts)}</body></html>\n'
        )


def _cell(value: Any) -> str:
    text = str(value)
    number = text[:1].isdigit() or (text[:1] == "-" and len(text) > 1)
    return f'<td class="number">{escape(text)}</td>' if number else f"<td>{escape(text)}</td>"
