"""What the report's map of clips shows, as plain data."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from streamer.analysis.dataset import EmbeddingSet
from streamer.analysis.linear_probe import Probe
from streamer.analysis.plots import COLOURS, MAX_NAMES
from streamer.analysis.project import Projection


def map_data(
    embedded: EmbeddingSet, projections: Sequence[Projection], probe: Probe | None, page_folder: Path
) -> dict[str, Any]:
    """Return what `report.js` reads: the clips, their places, and the colours.

    Args:
        embedded: the set.
        projections: each with a place for every recording.
        probe: says what it takes each clip for; None: there is none.
        page_folder: where the page will lie; the clips are named relative to it, so that both can be moved together.
    """
    facts = zip(embedded.names, embedded.labels, embedded.speakers, embedded.corpora, strict=True)
    clips: list[dict[str, Any]] = [
        {"name": name, "label": label, "speaker": speaker, "corpus": corpus} for name, label, speaker, corpus in facts
    ]
    for clip, seconds, file in zip(clips, embedded.seconds, embedded.files, strict=True):
        clip |= {"seconds": round(seconds, 1), "src": _address(file, page_folder)}
    for clip, predicted in zip(clips, [] if probe is None else probe.predicted, strict=False):
        clip["predicted"] = predicted
    return {
        "clips": clips,
        "projections": [
            {"name": one.name, "axes": one.axes, "unit": one.has_unit, "points": np.round(one.points, 3).tolist()}
            for one in projections
        ],
        "order": np.random.default_rng(0).permutation(len(clips)).tolist(),  # so that no name covers the others
        "colours": COLOURS,
        "most": MAX_NAMES,
    }


def _address(file: str, folder: Path) -> str:
    """Return the address of `file` for a page in `folder`; empty where the file is not known."""
    if not file:
        return ""
    try:
        near = os.path.relpath(file, folder.resolve())
    except ValueError:  # on another drive than the page
        return Path(file).as_uri()
    return quote(near.replace(os.sep, "/"))
