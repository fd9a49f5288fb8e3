"""Fit the linear head to pooled windows: the last stage of training, with encoder and pooling frozen.

While the encoder is trained, the head follows it under dropout and mixup. On the finished encoder a minute of fitting
reaches what hours of joint training do not, since every window is pooled once and nothing else is computed.

The head also learns to use voice profiles (`streamer.emotion.profile_offset`): a share of the windows has the speaker's
neutral offset subtracted, the others do not, so that one head serves streams with a profile and streams without.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streamer.arrays import Float64Array
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.model import Classifier
from streamer.emotion.profile_offset import subtract_offsets
from streamer.training.losses import masked_cross_entropy
from streamer.training.optim import cosine_with_warmup

_BATCH = 256
_RATE, _WEIGHT_DECAY = 1e-3, 1.0  # the bias decays too
_DROPOUT = 0.6  # of the pooled values
_NEVER = -30.0  # logit of a label that no corpus has: below one in a billion at any temperature up to 1.4
_LEAST_DEVIATION = 1e-3  # of a pooled value over all windows
_WARM_UP_STEPS = 50
_WITH_PROFILE = 0.5  # share of windows with their speaker's neutral offset subtracted


@dataclass(frozen=True)
class PooledWindows:
    """N pooled windows, with what the head is fitted to."""

    vectors: Tensor  # [N, 640]
    neutral_offsets: Tensor  # [N, 128] what a profile of the speaker subtracts; zeros where there is none
    targets: Tensor  # [N, 8] distributions over LABELS
    masks: Tensor  # [N, 8] bool: labels that the corpus has
    speakers: tuple[str, ...]  # N speaker ids; empty for non-speech
    kinds: tuple[tuple[str, str], ...]  # N, corpus and label; empty for non-speech

    def sampling_shares(self) -> Float64Array:
        """Return the probability `[N]` of drawing each: corpora as often as they occur, the labels of one all alike."""
        of_kind = Counter(self.kinds)
        of_corpus, labels = Counter(corpus for corpus, _ in self.kinds), Counter(corpus for corpus, _ in of_kind)
        shares = np.array([of_corpus[kind[0]] / labels[kind[0]] / of_kind[kind] for kind in self.kinds])
        result: Float64Array = shares / shares.sum()
        return result

    def speech_labels(self) -> Tensor:
        """Return the labels of the corpora, `[8] bool`; the masks of non-speech have all labels and do not count."""
        rows = [row for row, speaker in enumerate(self.speakers) if speaker]
        return self.masks[rows].any(dim=0)

    def without(self, speaker: str) -> "PooledWindows":
        """Return the windows of all other speakers."""
        rows = [row for row, other in enumerate(self.speakers) if other != speaker]
        return PooledWindows(
            vectors=self.vectors[rows],
            neutral_offsets=self.neutral_offsets[rows],
            targets=self.targets[rows],
            masks=self.masks[rows],
            speakers=tuple(self.speakers[row] for row in rows),
            kinds=tuple(self.kinds[row] for row in rows),
        )


def fit_head(model: EmotionDetectionModel, windows: PooledWindows, steps: int, seed: int) -> None:
    """Fit a new linear head to pooled windows in `steps` steps, and put it into `model`; the rest of it stays frozen.

    The head is fitted to standardised values under dropout (Srivastava et al. 2014); the standardisation is folded into
    its weights at the end. Labels that no corpus has get a logit of _NEVER.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    device = windows.vectors.device
    shares = windows.sampling_shares()
    deviation, mean = torch.std_mean(windows.vectors, dim=0)  # [640]
    deviation = deviation.clamp(min=_LEAST_DEVIATION)
    head = Classifier(windows.targets.shape[1]).to(device)
    optimizer = torch.optim.AdamW(head.parameters(), lr=_RATE, weight_decay=_WEIGHT_DECAY)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * cosine_with_warmup(step, _WARM_UP_STEPS, step / steps, 0.0)
        rows = torch.from_numpy(rng.choice(len(shares), _BATCH, p=shares)).to(device)
        with_profile = torch.from_numpy(rng.random(_BATCH) < _WITH_PROFILE).to(device)
        pooled = subtract_offsets(
            windows.vectors[rows], with_profile[:, None] * windows.neutral_offsets[rows]
        )  # [256, 640]
        logits = head(F.dropout((pooled - mean) / deviation, _DROPOUT))
        loss = masked_cross_entropy(logits, windows.targets[rows], windows.masks[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    _fold_in(mean, deviation, head)
    unspoken = ~windows.speech_labels()
    with torch.no_grad():
        head.weight[unspoken] = 0
        head.bias[unspoken] = _NEVER
    model.classifier.load_state_dict(head.state_dict())


def _fold_in(mean: Tensor, deviation: Tensor, head: Classifier) -> None:
    """Turn a head for standardised values `[B, 640]` into one for the values as they are."""
    with torch.no_grad():
        head.weight.div_(deviation)
        head.bias.sub_(head.weight @ mean)
