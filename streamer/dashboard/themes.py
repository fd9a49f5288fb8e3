"""The two themes of the program, and the label colours for every theme.

Labels get the colours in the model's order; with the bundled model these are neutral, calm, happy, sad, angry, fearful,
disgust and surprised. The colours follow Okabe and Ito's palette for colour-blind readers ("Color Universal Design",
2008), lightened for dark and darkened for light backgrounds; the ansi themes use the terminal's own sixteen colours.
"""

from textual.theme import Theme

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
