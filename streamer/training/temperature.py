"""Probabilities that mean what they say, and from which on to speak. Both are chosen on validation speakers."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from streamer.arrays import Float64Array

Integers = npt.NDArray[np.int64]


def fit_temperature(logits: Float64Array, answers: Integers) -> float:
    """What to divide logits by so that the likelihood of the answers is greatest (Guo et al. 2017, arXiv 1706.04599).

    Args:
        logits: `[N, L]`, minus infinity where a corpus lacks the label.
        answers: `[N]` the right columns.

    Returns:
        Between 0.2 and 10.
    """
    tensor, right = torch.as_tensor(logits, dtype=torch.float64), torch.as_tensor(answers, dtype=torch.int64)
    grid = np.geomspace(0.2, 10, 400)
    losses = [float(F.cross_entropy(tensor / temperature, right)) for temperature in grid]
    return float(grid[int(np.argmin(losses))])


def probabilities(logits: Float64Array, temperature: float) -> Float64Array:
    """`[N, L]` softmax of logits divided by the temperature."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    exponentials = np.exp(scaled)
    shares: Float64Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares


def choose_threshold(probs: Float64Array, answers: Integers, gain: float = 0.10, least_answered: float = 0.4) -> float:
    """The lowest confidence from which answers are `gain` more accurate than all of them.

    Args:
        probs: `[N, L]` calibrated.
        answers: `[N]` the right columns.
        gain: how much more accurate, as a share.
        least_answered: share of windows that must be left; where the gain costs more, the threshold stays here.

    Returns:
        A confidence, rounded to 0.01.
    """
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == answers
    threshold = 0.0
    for threshold in np.arange(0.2, 0.95, 0.01):
        answered = confidence >= threshold
        if np.mean(answered) < least_answered:
            threshold -= 0.01
            break
        if right[answered].mean() >= right.mean() + gain:
            break
    return round(float(threshold), 2)
