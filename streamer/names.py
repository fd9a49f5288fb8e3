"""Names as they may stand in an MQTT topic or a JSON field."""

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
