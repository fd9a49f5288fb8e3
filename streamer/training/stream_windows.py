"""Pool windows of training streams, and draw the histories by which the head learns to see them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from streamer.arrays import Float32Array, Float64Array
from streamer.constants import FRAME_RATE, FRAME_SAMPLES, POOLED_DIM
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import StreamHistory
from streamer.emotion.labels import LABELS
from streamer.emotion.pooling import pool
from streamer.training.losses import label_mask
from streamer.training.stream_frames import NON_SPEECH, StreamLabels

LEAST_VOICED = 0.3  # of a window: the gate lets no other pass
UNEMOTIONAL = ("neutral", "calm")
_POOLED_AT_ONCE = 64
# Histories in training: how much speech, how much of it neutral, and of how many windows the mean is taken.
_HISTORY_S = (3.0, 400.0)
_NEUTRAL_SHARE = (0.3, 1.0)
_HISTORY_WINDOWS = 24

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class StreamWindows:
    """N pooled windows of several streams, one stream after the other, in order of time."""

    vectors: Float32Array  # [N, 640]
    coverage: Float32Array  # [N, 8] share of the window with each label; zeros where nobody speaks
    voiced: Float32Array  # [N] share of the window with speech
    ends: Integers  # [N] frames from the stream's begin
    streams: tuple[str, ...]  # N keys
    speakers: tuple[str, ...]  # N speaker ids
    hop_s: float  # between two windows of a stream

    def __len__(self) -> int:
        return len(self.vectors)

    def select(self, rows: Bools) -> "StreamWindows":
        """Return some of the windows."""
        chosen = np.flatnonzero(rows).tolist()
        return StreamWindows(
            self.vectors[rows],
            self.coverage[rows],
            self.voiced[rows],
            self.ends[rows],
            tuple(self.streams[row] for row in chosen),
            tuple(self.speakers[row] for row in chosen),
            self.hop_s,
        )

    @property
    def corpora(self) -> npt.NDArray[np.str_]:
        """`[N]` names of corpora."""
        return np.array([speaker.partition("/")[0] for speaker in self.speakers])

    @property
    def labels(self) -> Integers:
        """`[N]` columns of the labels that cover most; meaningless without speech."""
        columns: Integers = self.coverage.argmax(axis=1)
        return columns

    def bounds(self) -> list[tuple[int, int]]:
        """Return the rows [begin, end) of each stream."""
        keys = np.array(self.streams)
        begins = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]).tolist() if len(keys) else []
        return list(zip(begins, [*begins[1:], len(keys)], strict=True))


def pool_streams(
    model: EmotionDetectionModel,
    streams: Iterable[tuple[str, Float32Array, StreamLabels]],
    window_s: float,
    hop_s: float,
) -> StreamWindows:
    """Pool the full windows of each stream, one a hop, from its frames `[F, 128]`."""
    window, hop = round(window_s * FRAME_RATE), round(hop_s * FRAME_RATE)
    parts: list[tuple[Float32Array, Float32Array, Float32Array, Integers]] = []
    keys: list[str] = []
    speakers: list[str] = []
    for key, frames, labels in streams:
        ends = np.arange(window, len(frames) + 1, hop)
        if len(ends):
            parts.append((_pooled(model, frames, ends, window), *_what_is_said(labels, ends, window), ends))
            keys += [key] * len(ends)
            speakers += [labels.speaker_id] * len(ends)
    vectors, coverage, voiced, all_ends = (
        np.concatenate(some) for some in zip(*parts, strict=True)
    ) if parts else _nothing()  # fmt: skip
    return StreamWindows(vectors, coverage, voiced, all_ends, tuple(keys), tuple(speakers), hop_s)


def _nothing() -> tuple[Float32Array, Float32Array, Float32Array, Integers]:
    empty = np.zeros((0, POOLED_DIM), np.float32)
    return empty, np.zeros((0, len(LABELS)), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)


@torch.inference_mode()
def _pooled(model: EmotionDetectionModel, frames: Float32Array, ends: Integers, window: int) -> Float32Array:
    """Pool the windows of `window` frames that end at `ends [N]`: `[N, 640]`."""
    rows = torch.from_numpy(np.ascontiguousarray(frames))  # [F, 128]
    scores = model.pooling.scores(rows.t()[None])[0]  # [F]
    places = torch.from_numpy(ends)[:, None] - window + torch.arange(window)  # [N, W]
    pooled = [
        pool(rows[some], scores[some], torch.ones_like(some, dtype=torch.bool))[0]
        for some in torch.split(places, _POOLED_AT_ONCE)
    ]
    vectors: Float32Array = torch.cat(pooled).numpy()
    return vectors


def _what_is_said(labels: StreamLabels, ends: Integers, window: int) -> tuple[Float32Array, Float32Array]:
    """Return the share of each window that each label covers, `[N, 8]`, and that has speech, `[N]`."""
    coverage = np.zeros((len(ends), len(LABELS)), np.float32)
    for stretch in labels.stretches:
        if stretch.label != NON_SPEECH:
            coverage[:, LABELS.index(stretch.label)] += _overlap(ends, window, stretch.begin, stretch.end)
    voiced = np.zeros(len(ends), np.float32)
    for begin, end in labels.voiced:
        voiced += _overlap(ends, window, begin, end)
    return coverage, voiced


def _overlap(ends: Integers, window: int, begin: int, end: int) -> Float32Array:
    """Return the share of each window `[N]` within the samples [begin, end)."""
    lasts, firsts = ends * FRAME_SAMPLES, (ends - window) * FRAME_SAMPLES
    common = np.minimum(lasts, end) - np.maximum(firsts, begin)
    shares: Float32Array = (common.clip(min=0) / (window * FRAME_SAMPLES)).astype(np.float32)
    return shares


def causal_histories(windows: StreamWindows, rule: StreamHistory) -> tuple[Float32Array, Float32Array]:
    """Return what the worker knows before each window: shifts `[N, 640]`, and the histories' beliefs `[N, 1]`."""
    shifts, beliefs = np.zeros_like(windows.vectors), np.zeros((len(windows), 1), np.float32)
    mean = np.array(rule.mean)
    keep = math.exp(-windows.hop_s / rule.memory_s)
    for begin, end in windows.bounds():
        total, weight_s = np.zeros(POOLED_DIM), 0.0
        for row in range(begin, end):
            shifts[row] = total / (weight_s + rule.prior_s)
            beliefs[row] = weight_s / (weight_s + rule.prior_s)
            if windows.voiced[row] >= LEAST_VOICED:
                total = keep * total + windows.hop_s * (windows.vectors[row] - mean)
                weight_s = keep * weight_s + windows.hop_s
    return shifts, beliefs


def random_shifts(windows: StreamWindows, mean: Float64Array, prior_s: float, rng: np.random.Generator) -> Float32Array:
    """Draw the shift `[N, 640]` of a history for each window: other windows of its stream, few or many, calm or not."""
    shifts = np.zeros_like(windows.vectors)
    calm = np.isin(windows.labels, [LABELS.index(label) for label in UNEMOTIONAL])
    for begin, end in windows.bounds():
        rows = np.arange(begin, end)
        neutral, emotional = rows[calm[begin:end]], rows[~calm[begin:end]]
        for row in rows:
            weight_s = math.exp(rng.uniform(math.log(_HISTORY_S[0]), math.log(_HISTORY_S[1])))
            chosen = _history(neutral, emotional, weight_s, rng)
            shifts[row] = (windows.vectors[chosen].mean(axis=0) - mean) * (weight_s / (weight_s + prior_s))
    return shifts


def _history(neutral: Integers, emotional: Integers, weight_s: float, rng: np.random.Generator) -> Integers:
    """Draw rows of a history of `weight_s` seconds."""
    count = min(_HISTORY_WINDOWS, max(1, round(weight_s / 1.5)))  # a short history is of few moments
    of_neutral = rng.binomial(count, rng.uniform(*_NEUTRAL_SHARE)) if len(emotional) else count
    if not len(neutral):
        of_neutral = 0
    drawn = [rng.choice(neutral, of_neutral)] if of_neutral else []
    drawn += [rng.choice(emotional, count - of_neutral)] if count > of_neutral else []
    rows: Integers = np.concatenate(drawn)
    return rows


def targets_and_masks(windows: StreamWindows, labels_of: dict[str, Sequence[str]]) -> tuple[Float32Array, Bools]:
    """Return target distributions `[N, 8]`, and the labels `[N, 8]` that each window's corpus has.

    A window across two emotions is a mixture of both. Where nobody speaks, all labels are as likely: that is what it
    means to claim none. Corpora that are not in `labels_of` are natural speech, which is told from all labels but calm:
    whether it is neutral or calm nobody has judged.
    """
    totals = windows.coverage.sum(axis=1, keepdims=True)
    even = np.full_like(windows.coverage, 1 / len(LABELS))
    targets = np.where(totals > 0, windows.coverage / np.maximum(totals, 1e-6), even)
    masks = np.ones(targets.shape, dtype=bool)
    speech = totals[:, 0] > 0
    masks[speech & ~np.isin(windows.corpora, list(labels_of)), LABELS.index("calm")] = False
    for corpus, labels in labels_of.items():
        masks[windows.corpora == corpus] = label_mask(labels)
    return targets.astype(np.float32), masks
