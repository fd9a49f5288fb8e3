"""Text from outside made safe to show: from files, brokers, sound servers, devices and errors."""

import re
import unicodedata

# Control characters, formats (among them those that turn the direction of text), halves of surrogate pairs, and
# characters without a meaning.
_UNWANTED = {"Cc", "Cf", "Cs", "Co", "Cn"}
_BREAKS = {"Zl", "Zp", "Zs"}
_MAX_MARKS = 2  # combining marks in a row; dozens reach into the lines above

# `user:password@`, behind a scheme or not.
_LOGIN = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*:/*)?[^\s'\"/]*:[^\s'\"]*@")
_QUERY = re.compile(r"(://[^\s'\"?]*\?)[^\s'\"]*")


def plain(text: object, max_chars: int = 300) -> str:
    """Return `text` on one line, without characters that a terminal obeys, at most `max_chars` long.

    Whoever shows the result as markup still escapes it. Never raises.
    """
    kept: list[str] = []
    marks = 0
    for character in str(text)[: 4 * max_chars]:
        kind = unicodedata.category(character)
        marks = marks + 1 if kind.startswith("M") else 0
        if character in "\t\n\r\v\f" or kind in _BREAKS:
            if kept and kept[-1] != " ":
                kept.append(" ")
        elif kind not in _UNWANTED and marks <= _MAX_MARKS:
            kept.append(character)
    line = "".join(kept).strip()
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def without_credentials(text: str) -> str:
    """Return `text` with every `user:password@` and every query of a URL replaced by an ellipsis."""
    return _QUERY.sub(r"\1…", _LOGIN.sub(lambda found: f"{found[1] or ''}…@", text))


def sentence(text: object) -> str:
    """Return `text` as an error or a warning is shown: plain, and without credentials; it may have several lines."""
    return "\n".join(plain(line, 2_000) for line in without_credentials(str(text)[:8_000]).splitlines())
