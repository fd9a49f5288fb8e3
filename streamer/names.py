"""Names as they may stand in an MQTT topic or a JSON field."""

import re
import unicodedata


def slugify(text: str, empty: str = "stream") -> str:
    """`text` reduced to `[a-z0-9_-]`: "Küche (Süd).wav" becomes "kuche-sud-wav"; `empty` where nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-") or empty
