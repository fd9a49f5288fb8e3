"""The last part of a training: the classifier learns anew from what the finished encoder and its attention say.

While the encoder moves, the classifier follows it, through dropped and mixed values. On the finished one it learns in a
minute what it did not in hours, since each window is pooled once and nothing else is computed.

It also learns what voice profiles do (`streamer.emotion.shift`): a share of the windows has its speaker's own neutral
voice taken out, the others come as they are, so one classifier serves calibrated streams and all others.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streamer.emotion import EmotionDetectionModel
from streamer.emotion.classifier import Classifier
from streamer.emotion.shift import take_out
from streamer.training.losses import masked_cross_entropy
from streamer.training.optimizers import rate_scale
from streamer.training.pooled import PooledWindows

_BATCH = 256
_RATE, _WEIGHT_DECAY = 1e-3, 1.0  # the bias decays too
_DROPPED = 0.6  # share of the pooled values that are left out at each step
_NEVER = -30.0  # logit of a label that nobody has spoken: below one in a billion at any temperature up to 1.4
_LEAST_SPREAD = 1e-3  # of a pooled value over all windows
_WARM_UP_STEPS = 50
_CALIBRATED = 0.5  # share of windows without their speaker's neutral voice


def settle(model: EmotionDetectionModel, windows: PooledWindows, steps: int, seed: int) -> None:
    """Give the model a classifier that learnt from the windows in so many steps; the rest stays as it is.

    It learns from standardised values, of which some are left out at every step (Srivastava et al. 2014); in the end it
    takes the standardising in. A label that no corpus has is never said.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    device = windows.vectors.device
    shares = windows.shares()
    spread, mean = torch.std_mean(windows.vectors, dim=0)  # [640]
    spread = spread.clamp(min=_LEAST_SPREAD)
    classifier = Classifier(windows.targets.shape[1]).to(device)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=_RATE, weight_decay=_WEIGHT_DECAY)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * rate_scale(step, _WARM_UP_STEPS, step / steps, 0.0)
        rows = torch.from_numpy(rng.choice(len(shares), _BATCH, p=shares)).to(device)
        calibrated = torch.from_numpy(rng.random(_BATCH) < _CALIBRATED).to(device)
        pooled = take_out(calibrated[:, None] * windows.voices[rows], windows.vectors[rows])
        logits = classifier(F.dropout((pooled - mean) / spread, _DROPPED))
        loss = masked_cross_entropy(logits, windows.targets[rows], windows.masks[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    _take_in(mean, spread, classifier)
    unspoken = ~windows.spoken()
    with torch.no_grad():
        classifier.weight[unspoken] = 0
        classifier.bias[unspoken] = _NEVER
    model.classifier.load_state_dict(classifier.state_dict())


def _take_in(mean: Tensor, spread: Tensor, classifier: Classifier) -> None:
    """Make a classifier of standardised values `[B, 640]` one of the values as they are."""
    with torch.no_grad():
        classifier.weight.div_(spread)
        classifier.bias.sub_(classifier.weight @ mean)
