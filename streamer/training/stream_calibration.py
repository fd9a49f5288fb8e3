"""Fit what a checkpoint needs beside its weights to be believed on streams: history, temperatures, thresholds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from streamer.arrays import Float32Array, Float64Array
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import StreamHistory
from streamer.emotion.labels import LABELS
from streamer.training.losses import label_mask
from streamer.training.stream_windows import LEAST_VOICED, Bools, StreamWindows, causal_histories
from streamer.training.temperature import probabilities

PRIOR_S = 12.0  # four windows of 3 s: what is known of a voice weighs as much after that much speech
MEMORY_S = 300.0
_PURE = 2 / 3  # least share of a window that its label covers, for the window to count
_ANSWERED = 0.42  # share of windows that name a label
_SCALES = np.geomspace(0.3, 3.0, 60)
_SLOPES = np.arange(0.0, 3.1, 0.1)
_ORDINARY = 0.9  # share of the known streams' windows whose temperature stays
_KNOWN = 0.99  # share of the known streams' windows that are not called unfamiliar
_LEAST_SPREAD = 1e-3
_CALM, _NEUTRAL = LABELS.index("calm"), LABELS.index("neutral")


@dataclass(frozen=True)
class Judged:
    """Windows with one label each, and what the model says of them."""

    logits: Float64Array  # [N, 8] before any temperature, minus infinity outside of the corpus's labels
    targets: npt.NDArray[np.int64]  # [N] columns
    distances: Float64Array  # [N] of the streams at these moments
    live_logits: Float64Array  # [N, 8] the same as `logits` over all labels, as a monitor has them
    speakers: int = 1  # how many are heard: one is no corpus, whatever he or she has said

    def select(self, rows: Bools | npt.NDArray[np.int64]) -> "Judged":
        """Return some of the windows, by a mask or by their places, of as many speakers."""
        return Judged(
            self.logits[rows], self.targets[rows], self.distances[rows], self.live_logits[rows], self.speakers
        )


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
    """Classify the windows of streams as the worker does, each by the history of those before it, among `labels`."""
    shifts, beliefs = causal_histories(windows, rule)
    rows = counted(windows)
    shifts, beliefs, pooled = shifts[rows], beliefs[rows], windows.vectors[rows]
    with torch.inference_mode():
        arguments = (torch.from_numpy(one) for one in (pooled, shifts, beliefs))
        logits = model.classify_in_stream(*arguments).double().numpy() * float(model.temperature)
    among = logits.copy()
    if "calm" not in labels:  # there it counts as neutral
        among[:, _NEUTRAL] = np.logaddexp(logits[:, _NEUTRAL], logits[:, _CALM])
    return Judged(
        logits=np.where(label_mask(labels), among, -np.inf),
        targets=windows.labels[rows].astype(np.int64),
        distances=_distances(shifts, rule),
        live_logits=logits,
        speakers=len(set(windows.speakers)),
    )


def counted(windows: StreamWindows) -> Bools:
    """Return which windows `[N]` count in an evaluation: those that one label covers by two thirds, with speech."""
    rows: Bools = (windows.coverage.max(axis=1) >= _PURE) & (windows.voiced >= LEAST_VOICED)
    return rows


def asked_for(judged: Judged) -> Judged:
    """Leave out the windows whose own label is not among those that the model was asked for."""
    return judged.select(np.isfinite(judged.logits[np.arange(len(judged.targets)), judged.targets]))


def joined(parts: Sequence[Judged]) -> Judged:
    """Return the windows of several corpora as one, in which every speaker weighs alike."""
    each = max(len(part.targets) / part.speakers for part in parts)
    even = [part.select(np.resize(np.arange(len(part.targets)), round(each * part.speakers))) for part in parts]
    return Judged(
        logits=np.concatenate([part.logits for part in even]),
        targets=np.concatenate([part.targets for part in even]),
        distances=np.concatenate([part.distances for part in even]),
        live_logits=np.concatenate([part.live_logits for part in even]),
        speakers=sum(part.speakers for part in even),
    )


def stream_threshold(known: Judged, temperature: float) -> float:
    """Return the highest threshold at which _ANSWERED of the windows of known streams are answered.

    A monitor that is wrong less often is worth more than one that says more, up to where it would fall silent.
    """
    confidence = probabilities(known.live_logits, temperature).max(axis=1)
    return math.floor(100 * float(np.quantile(confidence, 1 - _ANSWERED))) / 100


def calibrated_scale(without: Judged, within: Judged, temperature: float) -> float:
    """Return the factor of the stream head at which known streams are right as often as it is sure, on average.

    The likeliest factor is smaller: it is bound by the windows that are surely wrong, and leaves all others too unsure.

    Args:
        without: the windows as judged with a stream head of zeros.
        within: the same windows with the stream head as it is.
        temperature: of the head for clips, and so of both.
    """
    finite = np.isfinite(without.logits)
    clips = np.where(finite, without.logits, 0.0)
    streams = np.where(finite, within.logits, 0.0) - clips
    gaps = []
    for scale in _SCALES:
        sure = probabilities(np.where(finite, clips + scale * streams, -np.inf), temperature)
        right = sure.argmax(axis=1) == without.targets
        gaps.append(abs(float(np.mean(sure.max(axis=1))) - float(np.mean(right))))
    return float(_SCALES[int(np.argmin(gaps))])


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
