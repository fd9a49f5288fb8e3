"""The two themes of the program, and the label colours for every theme.

Labels get the colours in the model's order; with the bundled model these are neutral, calm, happy, sad, angry, fearful,
disgust and surprised. The colours follow Okabe and Ito's palette for colour-blind readers ("Color Universal Design",
2008), lightened for dark and darkened for light backgrounds; the ansi themes use the terminal's own sixteen colours.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from textual.theme import Theme

logger = logging.getLogger(__name__)

DARK = Theme(
    name="streamer",
    primary="#7FB7CC",
    secondary="#5C8AA8",
    accent="#E3B873",
    success="#7DBE8E",
    warning="#E8B04B",
    error="#EC7A6C",
    foreground="#D7DEE8",
    background="#10141B",
    surface="#161B24",
    panel="#1D2430",
    dark=True,
    variables={"footer-key-foreground": "#7FB7CC", "footer-background": "#10141B", "border": "#33404F"},
)

LIGHT = Theme(
    name="streamer-light",
    primary="#1F6F8B",
    secondary="#3E7C99",
    accent="#96610A",
    success="#2E7D4F",
    warning="#9A6200",
    error="#B3382C",
    foreground="#1E2630",
    background="#FAFAF7",
    surface="#F1F1EC",
    panel="#E6E6DF",
    dark=False,
    variables={"footer-key-foreground": "#1F6F8B", "footer-background": "#FAFAF7", "border": "#C3C6C0"},
)

# The labels' colours, in the order of `emotion.labels.LABELS`:
#          neutral    calm       happy      sad        angry      fearful    disgust    surprised
#          grey       sky blue   yellow     blue       vermillion purple     green      orange
ON_DARK = ("#AEB7C4", "#56B4E9", "#EFE15A", "#5590DC", "#EB6B2C", "#D68DB8", "#22B58A", "#E69F00")
ON_LIGHT = ("#67707C", "#1B84C0", "#A39300", "#0B4F8F", "#B94A00", "#A4517E", "#007A5A", "#B87A00")
ANSI = (
    "ansi_white", "ansi_cyan", "ansi_bright_yellow", "ansi_bright_blue",
    "ansi_red", "ansi_magenta", "ansi_green", "ansi_yellow",
)  # fmt: skip


def label_colours(theme: Theme) -> dict[str, str]:
    """Return the theme variables `$label-0` … `$label-7`; a theme may override them."""
    colours = ANSI if theme.ansi else ON_DARK if theme.dark else ON_LIGHT
    return {f"label-{index}": colour for index, colour in enumerate(colours)}


@dataclass(frozen=True, slots=True)
class ThemeMemory:
    """Keeps the name of the theme that was chosen in a file, from one run to the next."""

    path: Path

    @classmethod
    def of_user(cls) -> "ThemeMemory":
        """Return the memory in the user's state folder."""
        return cls(platformdirs.user_state_path("streamer") / "dashboard.json")

    def recall(self) -> str | None:
        """Return the theme chosen last; None where none was, or the file cannot be read."""
        try:
            name = json.loads(self.path.read_text(encoding="utf-8"))["theme"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return name if isinstance(name, str) else None

    def keep(self, theme: str) -> None:
        """Write the theme's name; a folder that cannot be written costs the memory and nothing else."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_suffix(".part")
            partial.write_text(json.dumps({"theme": theme}), encoding="utf-8")
            partial.replace(self.path)
        except OSError as error:
            logger.warning("The theme cannot be remembered in %s: %s", self.path, error.strerror)
