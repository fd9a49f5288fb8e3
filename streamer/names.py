"""Names as they may stand in an MQTT topic, a JSON field, or on a terminal."""

import re
import unicodedata


def slugify(text: str, empty: str = "stream") -> str:
    """`text` reduced to `[a-z0-9_-]`: "Küche (Süd).wav" becomes "kuche-sud-wav"; `empty` where nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-") or empty


def printable(text: str) -> str:
    """Replace what is not printable in `text` by spaces: control characters, bidirectional marks, lone surrogates."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
