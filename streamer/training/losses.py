"""What the student is told: labels with masks and doubt, and the teacher, frame by frame and as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from streamer.arrays import Float32Array
from streamer.emotion.labels import LABELS


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part counts."""

    frames: float = 1.0  # the teacher's layers at every frame
    descriptors: float = 0.0  # log-mel energies and low-level descriptors at every frame; 0: none are computed
    utterance: float = 1.0  # mean and deviation of the teacher's layers over the clip
    opinions: float = 0.5  # logits of every corpus's classifier on those
    labels: float = 0.2  # little: few clips are learnt by heart, and the classifier learns them anew in the end


@dataclass(frozen=True, slots=True)
class Softness:
    """How sure the targets are."""

    votes: float = 0.3  # the crowd's share of a target, where there are votes
    teacher: float = 0.5  # the teacher's share of what comes of that, where it has answered
    smoothing: float = 0.05  # spread over the corpus's labels (Szegedy et al. 2016, arXiv 1512.00567)


def label_target(
    label: str,
    present: Sequence[str],
    votes: Sequence[float] | None,
    softness: Softness,
    answer: Sequence[float] | Float32Array | None = None,
) -> Float32Array:
    """`[8]` a distribution over LABELS for one clip.

    Args:
        label: what the actor meant.
        present: the labels that the corpus has; no other gets a share.
        votes: what listeners heard, as shares in LABELS' order.
        answer: what a classifier on the teacher's features takes it for, likewise.
    """
    target = np.zeros(len(LABELS), dtype=np.float32)
    target[LABELS.index(label)] = 1
    if votes is not None:
        target = (1 - softness.votes) * target + softness.votes * np.asarray(votes, dtype=np.float32)
    if answer is not None:
        target = (1 - softness.teacher) * target + softness.teacher * np.asarray(answer, dtype=np.float32)
    spread = label_mask(present) / len(present)
    return ((1 - softness.smoothing) * target + softness.smoothing * spread).astype(np.float32)


def no_emotion_target() -> Float32Array:
    """`[8]` for sound without a voice: every label alike, so that none reaches the threshold."""
    return np.full(len(LABELS), 1 / len(LABELS), dtype=np.float32)


def label_mask(present: Sequence[str]) -> npt.NDArray[np.bool_]:
    """`[8] bool`, the labels in `present`: a corpus without surprise says nothing about surprise."""
    return np.array([label in present for label in LABELS])


def masked_cross_entropy(logits: Tensor, targets: Tensor, masks: Tensor, shares: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of soft targets, each row over its own labels only.

    Args:
        logits: `[B, 8]`.
        targets: `[B, 8]`, zero outside the mask.
        masks: `[B, 8] bool`, at least one label a row.
        shares: `[B]` how much each row counts, of one (all of it, if None).
    """
    log_probs = logits.masked_fill(~masks, float("-inf")).log_softmax(dim=1)
    entropies = -(targets * log_probs.masked_fill(~masks, 0.0)).sum(dim=1)  # [B]
    return (entropies if shares is None else entropies * shares).mean()


def masked_mean_square(values: Tensor, targets: Tensor, real: Tensor, shares: Tensor | None = None) -> Tensor:
    """Mean squared error over the rows that are real; 0 where none is.

    Args:
        values, targets: `[B, ..., K]`.
        real: `[B, ...] bool`.
        shares: `[B]` how much each row counts, of one (all of it, if None).
    """
    errors = F.mse_loss(values, targets, reduction="none").mean(dim=-1)  # [B, ...]
    errors = torch.where(real, errors, 0.0)
    if shares is not None:
        errors = errors * shares.reshape(-1, *[1] * (errors.dim() - 1))
    return errors.sum() / real.sum().clamp(min=1)
