"""Draw projections, similarities and confusion matrices as PNG and SVG, in colours that are safe for colour blindness.

Categories differ by colour (Okabe and Ito's) and by marker, never by colour alone.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from streamer.analysis.project import Projection
from streamer.analysis.similarity import LabelSimilarity
from streamer.arrays import FloatArray, IntArray

# Okabe and Ito, "Color Universal Design", 2008; yellow darkened to be visible on white
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
UNNAMED_COLOUR = "#AAAAAA"
MAX_NAMES = 40  # more neither fit a legend nor can be distinguished
DPI = 120


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture in both formats."""

    png: bytes
    svg: bytes  # for papers


def scatter(projection: Projection, names: Sequence[str], what: str) -> Picture:
    """Draw a projection with recordings coloured by name.

    Eight colours and eight markers distinguish the forty most frequent names; all other names share one.

    Args:
        projection: the points.
        names: of the recordings; empty where not known.
        what: what the names are, for titles: label or speaker.
    """
    figure = Figure(figsize=(8.4, 5.6), layout="constrained")
    axes = figure.subplots()
    counts = {name: names.count(name) for name in dict.fromkeys(sorted(names)) if name}
    shown = sorted(sorted(counts, key=lambda name: -counts[name])[:MAX_NAMES])
    groups = np.array([name if name in shown else "" for name in names])
    size = float(np.clip(18_000 / max(1, len(names)), 12, 40))
    order = np.random.default_rng(0).permutation(len(names))  # so that no name covers the others
    for position, name in enumerate(["", *shown]):
        members = order[groups[order] == name]
        if len(members):
            colour, marker = (UNNAMED_COLOUR, ".") if name == "" else _style(position - 1)
            axes.scatter(
                projection.points[members, 0],
                projection.points[members, 1],
                s=size,
                c=colour,
                marker=marker,
                alpha=0.75,
                linewidths=0,
                label=f"{name or ('others' if counts else 'not known')} ({len(members)})",
            )
    axes.set_title(f"{projection.name} by {what}: {len(names):,} recordings")
    axes.set_xlabel(projection.axes[0])
    axes.set_ylabel(projection.axes[1])
    _remove_frame(axes)
    columns = 1 + len(shown) // 22
    figure.legend(
        loc="outside right upper", title=f"{what} (recordings)", ncols=columns, frameon=False, markerscale=1.6
    )
    return _picture(figure)


def similarity_maps(similarity: LabelSimilarity) -> Picture:
    """Draw cosine similarity and Euclidean distance between labels, with numbers."""
    side = 1.6 + 0.62 * len(similarity.labels)
    figure = Figure(figsize=(2 * side + 1, side), layout="constrained")
    left, right = figure.subplots(1, 2)
    _heat(left, similarity.cosine, similarity.labels, "cosine similarity (-1 to 1)", "{:.2f}")
    _heat(right, similarity.euclidean, similarity.labels, "Euclidean distance (standard deviations)", "{:.1f}")
    figure.suptitle("Similarity of labels: mean over pairs of recordings")
    return _picture(figure)


def confusion_map(confusion: IntArray, labels: Sequence[str]) -> Picture:
    """Draw a confusion matrix `[L, L]` as percentages of each row, with numbers."""
    side = 2.4 + 0.62 * len(labels)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    shares = 100 * confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
    _heat(axes, shares, labels, "share of the row (%)", "{:.0f}")
    axes.set_title("Linear probe, held-out speakers: confusion")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return _picture(figure)


def _heat(axes: Axes, values: FloatArray, labels: Sequence[str], what: str, pattern: str) -> None:
    """Draw `values: [L, L]` as a heat map with numbers formatted by `pattern`; NaN stays empty."""
    colours = mpl.colormaps["cividis"]  # Nuñez, Anderton and Renslow, 2018: looks the same with colour blindness
    image = axes.imshow(values, cmap=colours)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    for row, column in np.ndindex(*values.shape):
        value = values[row, column]
        if np.isfinite(value):
            dark = (value - np.nanmin(values)) < 0.5 * np.ptp(values[np.isfinite(values)])
            axes.text(
                column, row, pattern.format(value), ha="center", va="center", size=8, color="white" if dark else "black"
            )
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label(what)
    axes.spines[:].set_visible(False)


def _style(position: int) -> tuple[str, str]:
    """Return colour and marker: for up to eight names both differ, beyond that the pair does."""
    turn, colour = divmod(position, len(COLOURS))
    return COLOURS[colour], MARKERS[(colour + turn) % len(MARKERS)]


def _remove_frame(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)


def _picture(figure: Figure) -> Picture:
    FigureCanvasAgg(figure)
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI)
    with mpl.rc_context({"svg.hashsalt": "streamer"}):  # the same figures give the same file
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return Picture(png.getvalue(), svg.getvalue())
