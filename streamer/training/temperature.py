"""Temperature scaling, and the confidence threshold below which no label is claimed; both from validation speakers."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from streamer.arrays import Float64Array

Integers = npt.NDArray[np.int64]


def fit_temperature(logits: Float64Array, targets: Integers) -> float:
    """Return the divisor of logits that maximises the likelihood of the targets (Guo et al. 2017, arXiv 1706.04599).

    Args:
        logits: `[N, L]`, minus infinity where a corpus lacks the label.
        targets: `[N]` columns of the labels.

    Returns:
        Between 0.2 and 10.
    """
    tensor, columns = torch.as_tensor(logits, dtype=torch.float64), torch.as_tensor(targets, dtype=torch.int64)
    grid = np.geomspace(0.2, 10, 400)
    losses = [float(F.cross_entropy(tensor / temperature, columns)) for temperature in grid]
    return float(grid[int(np.argmin(losses))])


def probabilities(logits: Float64Array, temperature: float) -> Float64Array:
    """Return the softmax `[N, L]` of logits divided by the temperature."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    exponentials = np.exp(scaled)
    shares: Float64Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares


def choose_threshold(probs: Float64Array, targets: Integers, gain: float = 0.10, least_answered: float = 0.4) -> float:
    """Return the lowest confidence above which predictions are `gain` more accurate than all of them are.

    Args:
        probs: `[N, L]` calibrated.
        targets: `[N]` columns of the labels.
        gain: of accuracy, as a share.
        least_answered: least share of windows above the threshold; it is no higher than this allows.

    Returns:
        A confidence, rounded to 0.01.
    """
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == targets
    threshold = 0.0
    for threshold in np.arange(0.2, 0.95, 0.01):
        answered = confidence >= threshold
        if np.mean(answered) < least_answered:
            threshold -= 0.01
            break
        if right[answered].mean() >= right.mean() + gain:
            break
    return round(float(threshold), 2)
