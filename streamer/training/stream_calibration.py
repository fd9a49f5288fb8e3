"""Fit what a checkpoint needs beside its weights to be believed on streams: history, temperatures, thresholds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamer.arrays import Float32Array, Float64Array
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import Calibration, StreamHistory
from streamer.training.losses import label_mask
from streamer.training.predict import classify_pooled
from streamer.training.stream_windows import LEAST_VOICED, Bools, StreamWindows, causal_shifts
from streamer.training.temperature import fit_temperature, probabilities

PRIOR_S = 12.0  # four windows of 3 s: what is known of a voice weighs as much after that much speech
MEMORY_S = 300.0
_PURE = 2 / 3  # least share of a window that its label covers, for the window to count
_ANSWERED = 0.42  # share of windows; some are lost to the labels that a corpus lacks
_SLOPES = np.arange(0.0, 3.1, 0.1)
_ORDINARY = 0.9  # share of the known streams' windows whose temperature stays
_KNOWN = 0.99  # share of the known streams' windows that are not called unfamiliar
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class Judged:
    """Windows with one label each, and what the model says of them."""

    logits: Float64Array  # [N, 8] before any temperature, minus infinity outside of the corpus's labels
    targets: npt.NDArray[np.int64]  # [N] columns
    distances: Float64Array  # [N] of the streams at these moments


def history_of(windows: StreamWindows, weights: Float32Array) -> StreamHistory:
    """Return the history's constants but for its temperatures: the windows' mean, and how streams spread around it.

    Args:
        windows: of the training streams.
        weights: `[N]` of the mean; streams without weight do not count.
    """
    mean = np.average(windows.vectors, axis=0, weights=weights)
    squares, totals = [], []
    for begin, end in windows.bounds():
        total = float(weights[begin:end].sum())
        if total > 0:
            squares.append((windows.vectors[begin:end].mean(axis=0) - mean) ** 2)
            totals.append(total)
    spread = np.sqrt(np.average(squares, axis=0, weights=totals)).clip(min=_LEAST_SPREAD)
    return StreamHistory(
        mean=_rounded(mean),
        spread=_rounded(spread),
        prior_s=PRIOR_S,
        memory_s=MEMORY_S,
        log_temperature_offset=0.0,
        log_temperature_slope=0.0,
        unfamiliar=1e6,
    )


def judge(model: EmotionDetectionModel, windows: StreamWindows, rule: StreamHistory, labels: Sequence[str]) -> Judged:
    """Classify the windows of streams, each by the history of those before it, among `labels`."""
    shifts = causal_shifts(windows, rule)
    rows = counted(windows)
    logits = classify_pooled(model, (windows.vectors - shifts)[rows], label_mask(labels))
    return Judged(logits, windows.labels[rows].astype(np.int64), _distances(shifts[rows], rule))


def counted(windows: StreamWindows) -> Bools:
    """Return which windows `[N]` count in an evaluation: those that one label covers by two thirds, with speech."""
    rows: Bools = (windows.coverage.max(axis=1) >= _PURE) & (windows.voiced >= LEAST_VOICED)
    return rows


def joined(parts: Sequence[Judged]) -> Judged:
    """Return the windows of several corpora as one; a corpus of many windows does not outweigh the others."""
    most = max(len(part.targets) for part in parts)
    repeated = [np.resize(np.arange(len(part.targets)), most) for part in parts]
    return Judged(
        np.concatenate([part.logits[rows] for part, rows in zip(parts, repeated, strict=True)]),
        np.concatenate([part.targets[rows] for part, rows in zip(parts, repeated, strict=True)]),
        np.concatenate([part.distances[rows] for part, rows in zip(parts, repeated, strict=True)]),
    )


def calibrate_streams(known: Judged, window_s: float) -> Calibration:
    """Fit the temperature of known streams, and choose the threshold of a claim.

    The threshold is the highest at which _ANSWERED of the windows of known streams are answered: a monitor that is
    wrong less often is worth more than one that says more, up to where it would fall silent.
    """
    temperature = fit_temperature(known.logits, known.targets)
    confidence = probabilities(known.logits, temperature).max(axis=1)
    threshold = math.floor(100 * float(np.quantile(confidence, 1 - _ANSWERED))) / 100
    return Calibration(window_s=window_s, temperature=round(temperature, 4), threshold=threshold)


def temper_by_distance(rule: StreamHistory, known: Judged, foreign: Judged, temperature: float) -> StreamHistory:
    """Choose by how much the temperature grows with the distance beyond that of nearly all known streams.

    Known streams stay as they are, so that an ordinary microphone is no foreign language.

    Args:
        rule: of the model that judged `known`.
        known: streams of the corpora that the model was trained on.
        foreign: streams of corpora that the judging model was not trained on, with distances from those it was.
        temperature: of known streams.
    """
    ordinary = float(np.quantile(known.distances, _ORDINARY))
    losses = []
    for slope in _SLOPES:
        factors = np.exp(slope * np.maximum(foreign.distances - ordinary, 0.0))
        likely = probabilities(foreign.logits / factors[:, None], temperature)
        losses.append(-float(np.mean(np.log(likely[np.arange(len(foreign.targets)), foreign.targets] + 1e-12))))
    slope = float(_SLOPES[int(np.argmin(losses))])
    return replace(
        rule,
        log_temperature_slope=round(slope, 2),
        log_temperature_offset=round(-slope * ordinary, 3),
        unfamiliar=round(float(np.quantile(known.distances, _KNOWN)), 3),
    )


def _distances(shifts: Float32Array, rule: StreamHistory) -> Float64Array:
    distances: Float64Array = np.sqrt(np.mean((shifts / np.array(rule.spread)) ** 2, axis=1))
    return distances


def _rounded(values: npt.NDArray[np.floating[Any]]) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
