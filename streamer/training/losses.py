"""Targets and losses: label distributions with masks, and mean squared errors over the rows that count."""

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
    """Weights of the five losses in their sum. The fields are keys of `recipe.json`."""

    frames: float = 1.0  # the teacher's layers at every frame
    descriptors: float = 0.0  # log-mel energies and low-level descriptors at every frame; 0: none are computed
    utterance: float = 1.0  # mean and deviation of the teacher's layers over the clip
    opinions: float = 0.5  # logits of every corpus's classifier on those: soft labels
    labels: float = 0.2  # little: few clips are soon memorised, and the head is refitted to labels in the end

    def in_order(self) -> tuple[float, ...]:
        """Return the weights in the order of `batch_losses`."""
        return self.frames, self.descriptors, self.utterance, self.opinions, self.labels


@dataclass(frozen=True, slots=True)
class Softness:
    """How soft the label targets are. The fields are keys of `recipe.json`."""

    votes: float = 0.3  # share of the crowd's votes in a target, where there are votes
    teacher: float = 0.5  # share of the teacher's soft label in what results, where there is one
    smoothing: float = 0.05  # spread over the corpus's labels (Szegedy et al. 2016, arXiv 1512.00567)


def label_target(
    label: str,
    present: Sequence[str],
    votes: Sequence[float] | None,
    softness: Softness,
    soft_label: Sequence[float] | Float32Array | None = None,
) -> Float32Array:
    """Return the target `[8]` of one clip, a distribution over LABELS.

    Args:
        label: the emotion that the actor intended.
        present: the labels that the corpus has; no other gets a share.
        votes: shares of the listeners' votes, in LABELS' order.
        softness: how the parts are mixed.
        soft_label: probabilities of a classifier on the teacher's features, in LABELS' order.
    """
    target = np.zeros(len(LABELS), dtype=np.float32)
    target[LABELS.index(label)] = 1
    if votes is not None:
        target = (1 - softness.votes) * target + softness.votes * np.asarray(votes, dtype=np.float32)
    if soft_label is not None:
        target = (1 - softness.teacher) * target + softness.teacher * np.asarray(soft_label, dtype=np.float32)
    spread = label_mask(present) / len(present)
    return ((1 - softness.smoothing) * target + softness.smoothing * spread).astype(np.float32)


def no_emotion_target() -> Float32Array:
    """Return the target `[8]` of non-speech: every label alike, so that none reaches the threshold."""
    return np.full(len(LABELS), 1 / len(LABELS), dtype=np.float32)


def label_mask(present: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return the mask `[8] bool` of the labels in `present`: a corpus without surprise has no evidence on surprise."""
    return np.array([label in present for label in LABELS])


def masked_cross_entropy(logits: Tensor, targets: Tensor, masks: Tensor, shares: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of soft targets, each row over its own labels only.

    Args:
        logits: `[B, 8]`.
        targets: `[B, 8]`, zero outside the mask.
        masks: `[B, 8] bool`, at least one label a row.
        shares: `[B]` weight of each row, 0 to 1; None: 1.
    """
    log_probs = logits.masked_fill(~masks, float("-inf")).log_softmax(dim=1)
    entropies = -(targets * log_probs.masked_fill(~masks, 0.0)).sum(dim=1)  # [B]
    return (entropies if shares is None else entropies * shares).mean()


def masked_mean_square(values: Tensor, targets: Tensor, real: Tensor, shares: Tensor | None = None) -> Tensor:
    """Return the mean squared error over the rows that are real; 0 where none is.

    Args:
        values: `[B, ..., K]`.
        targets: `[B, ..., K]`.
        real: `[B, ...] bool`.
        shares: `[B]` weight of each row, 0 to 1; None: 1.
    """
    errors = F.mse_loss(values, targets, reduction="none").mean(dim=-1)  # [B, ...]
    errors = torch.where(real, errors, 0.0)
    if shares is not None:
        errors = errors * shares.reshape(-1, *[1] * (errors.dim() - 1))
    return errors.sum() / real.sum().clamp(min=1)
