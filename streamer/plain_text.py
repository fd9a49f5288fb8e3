"""Text from outside made safe to show: from files, brokers, sound servers, devices and errors."""

import re
import unicodedata

_MAX_MARKS = 2  # combining marks in a row; dozens reach into the lines above

_TOKEN = re.compile(r"[^\s'\"]+")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:/+")
# The format of raw PCM is no secret, and sentences say how to write it.
_PCM = r"(?:(?:format|rate|channels)=\w+(?:&|(?=[\s'\".,;]|$)))+(?=[\s'\".,;]|$)"
_QUERY = re.compile(rf"(://[^\s'\"?]*\?)(?!{_PCM})[^\s'\"]*")


def printable(text: str) -> str:
    """Return `text` with a space for every character that a terminal may obey or that turns text around.

    These are control characters, bidirectional marks, line breaks, lone surrogates. Combining marks past the second in
    a row, which reach into other lines, are spaces too. Whoever shows the result as markup still escapes it.
    """
    if text.isascii() and text.isprintable():
        return text
    marks, kept = 0, []
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        kept.append(character if character.isprintable() and marks <= _MAX_MARKS else " ")
    return "".join(kept)


def plain(text: object, max_chars: int = 300) -> str:
    """Return `text` as `printable` does, on one line without double spaces, at most `max_chars` long. Never raises."""
    line = " ".join(printable(str(text)[: 4 * max_chars]).split())
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def without_credentials(text: str) -> str:
    """Return `text` with every `user:password@` and every query of a URL replaced by an ellipsis."""
    return _QUERY.sub(r"\1…", _TOKEN.sub(_without_login, text) if "@" in text else text)


def _without_login(found: re.Match[str]) -> str:
    """Return a word without the login in it, behind a scheme or not."""
    login, at, rest = found[0].rpartition("@")
    scheme = _SCHEME.match(login)
    if not at or not (scheme or ":" in login):
        return found[0]
    return f"{scheme[0] if scheme else ''}…@{rest}"


def sentence(text: object) -> str:
    """Return `text` as an error or a warning is shown: plain, and without credentials; it may have several lines."""
    return "\n".join(plain(line, 2_000) for line in without_credentials(str(text)[:8_000]).splitlines())
