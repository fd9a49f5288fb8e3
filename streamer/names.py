"""Names as they may stand in an MQTT topic, a JSON field, or on a terminal."""

import re
import unicodedata


def slugify(text: str, empty: str = "stream") -> str:
    """`text` reduced to `[a-z0-9_-]`: "Küche (Süd).wav" becomes "kuche-sud-wav"; `empty` where nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-") or empty


def plain_name(name: str) -> str:
    """Return `name`, which can stand in a topic as it is.

    Raises:
        ValueError: it cannot; the message names what could.
    """
    if name != slugify(name, empty="-"):
        raise ValueError(f'lower-case letters, digits, - and _ make a name; "{slugify(name)}" would be one')
    return name


def printable(text: str) -> str:
    """Replace what is not printable in `text` by spaces: control characters, bidirectional marks, lone surrogates."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
