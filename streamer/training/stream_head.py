"""Fit the linear head to windows of streams, each seen by a history: multinomial regression with an L2 penalty.

Corpora weigh alike, and within a corpus the labels: a monitor must not learn how often its corpora are angry. L-BFGS
over all windows takes less than a minute, without a step size to choose.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streamer.arrays import Float32Array
from streamer.emotion.labels import LABELS
from streamer.emotion.model import Classifier
from streamer.training.stream_windows import Bools, StreamWindows

_LEAST_DEVIATION = 1e-3  # of a pooled value over all windows
_ITERATIONS = 60
_NEVER = -30.0  # logit of a label that no corpus has


@dataclass(frozen=True)
class HeadExamples:
    """N windows that a head is fitted to."""

    vectors: Float32Array  # [N, 640] pooled windows less the shifts of their histories
    targets: Float32Array  # [N, 8] distributions
    masks: Bools  # [N, 8] labels that count
    weights: Float32Array  # [N] of the loss
    spoken: Bools  # [8] labels that some corpus has; the others are never claimed


def balanced_weights(windows: StreamWindows, of_corpus: Mapping[str, float]) -> Float32Array:
    """Return weights `[N]`: of each corpus in all; its labels weigh alike, and the windows of one. Others get 0."""
    corpora, labels = windows.corpora, windows.labels
    weights = np.zeros(len(windows), np.float32)
    for corpus, total in of_corpus.items():
        present = np.unique(labels[corpora == corpus])
        for label in present:
            rows = (corpora == corpus) & (labels == label)
            weights[rows] = total / len(present) / rows.sum()
    return weights


def fit_stream_head(examples: HeadExamples, l2: float) -> Classifier:
    """Fit a classifier; the standardisation is folded into its weights.

    Args:
        examples: to fit to.
        l2: penalty on the squared weights of standardised values, beside the mean loss.
    """
    vectors, targets = torch.from_numpy(examples.vectors), torch.from_numpy(examples.targets)
    masks, weights = torch.from_numpy(examples.masks), torch.from_numpy(examples.weights)
    weights = weights / weights.sum()
    mean = weights @ vectors  # [640]
    deviation = (weights @ (vectors - mean).square()).sqrt().clamp(min=_LEAST_DEVIATION)
    standard = (vectors - mean) / deviation
    weight = torch.zeros(len(LABELS), vectors.shape[1], requires_grad=True)
    bias = torch.zeros(len(LABELS), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_ITERATIONS, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        log_probs = F.log_softmax((standard @ weight.t() + bias).masked_fill(~masks, -1e4), dim=1)
        loss = -((targets * log_probs).masked_fill(~masks, 0.0).sum(dim=1) @ weights) + l2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        folded = weight / deviation
        offset = bias - folded @ mean
        unspoken = torch.from_numpy(~examples.spoken)
        folded[unspoken], offset[unspoken] = 0.0, _NEVER
        classifier = Classifier(len(LABELS))
        classifier.weight.copy_(folded)
        classifier.bias.copy_(offset)
    return classifier
