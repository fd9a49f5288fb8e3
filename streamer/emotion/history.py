"""The history of each stream: a running mean of its pooled windows, by which the next ones are seen.

Voices, rooms and microphones shift every pooled window of a stream by about as much as an emotion does. The mean of
what a stream has said so far holds that shift. A classifier of its own sees the windows less that shift; the more a
stream has said, the more it counts beside the one for clips. The mean begins at the mean of the training streams (or
at that of a calibrated voice), which weighs as much as `prior_s` seconds of speech, and forgets older speech
exponentially. Only full windows of speech enter it, each after it was classified: no window is compared with itself,
and the first one of a stream is classified as a clip on its own is.

The distance of the mean from that of the training streams tells how foreign voice, room or language are. The
temperature grows with it, so that the model is less sure of what it does not know.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from streamer.codec.device import upload
from streamer.constants import EMBEDDING_DIM, POOLED_DIM
from streamer.emotion.card import StreamHistory


class RunningMeans:
    """The running means of several streams, `[B, 640]` on the model's device, where nothing waits for them.

    Args:
        rule: constants of the checkpoint.
        batch_size: number of rows; `grow` adds more.
        device: where pooled windows are.
    """

    def __init__(self, rule: StreamHistory, batch_size: int, device: torch.device) -> None:
        self.rule = rule
        self._mean = torch.tensor(rule.mean, device=device)  # [640]
        self._spread = torch.tensor(rule.spread, device=device)  # [640]
        self._shifts = torch.zeros(batch_size, POOLED_DIM, device=device)  # [B, 640] of the priors from `_mean`
        self._sums = torch.zeros(batch_size, POOLED_DIM, device=device)  # [B, 640] of windows, less `_mean`
        self._weights_s = [0.0] * batch_size  # seconds of speech in each sum, faded like it
        self._heard_s = [0.0] * batch_size  # the same without fading

    def grow(self, batch_size: int) -> None:
        """Make room for more rows, `batch_size` in all, without a history."""
        more = batch_size - len(self._weights_s)
        self._shifts = torch.cat((self._shifts, self._shifts.new_zeros(more, POOLED_DIM)))
        self._sums = torch.cat((self._sums, self._sums.new_zeros(more, POOLED_DIM)))
        self._weights_s += [0.0] * more
        self._heard_s += [0.0] * more

    def set_voice(self, row: int, offset: Sequence[float] | None) -> None:
        """Begin the history of `row` at a voice whose attentive means differ by `offset` [128]; None: at nobody's."""
        values = torch.zeros(POOLED_DIM)
        if offset is not None:
            values[:EMBEDDING_DIM] = torch.tensor(offset, dtype=torch.float32)
        self._shifts[row] = upload(values, self._shifts.device)

    def forget(self, row: int) -> None:
        """Begin the history of `row` anew: another microphone, another stream."""
        self._sums[row] = 0.0
        self._weights_s[row] = self._heard_s[row] = 0.0

    def heard_s(self, row: int) -> float:
        """Return the seconds of speech that the history of `row` has heard."""
        return self._heard_s[row]

    def shifts(self, rows: Sequence[int]) -> Tensor:
        """Return by how much the running means of these N rows differ from the training streams', `[N, 640]`."""
        prior_s = self.rule.prior_s
        weights_s = torch.tensor([prior_s + self._weights_s[row] for row in rows])
        index, weights = upload(torch.tensor(list(rows)), self._sums.device), upload(weights_s, self._sums.device)
        return (self._sums[index] + prior_s * self._shifts[index]) / weights[:, None]

    def beliefs(self, rows: Sequence[int]) -> Tensor:
        """Return how much the histories of these N rows are worth, `[N, 1]`: from 0 to 1 with the speech in them."""
        weights_s = [self._weights_s[row] for row in rows]
        shares = torch.tensor([weight / (weight + self.rule.prior_s) for weight in weights_s])
        return upload(shares, self._sums.device)[:, None]

    def distances(self, shifts: Tensor) -> Tensor:
        """Return the distance `[N]` of N rows from the training streams, in deviations of those, from `shifts`."""
        return (shifts / self._spread).square().mean(dim=1).sqrt()

    def temperatures(self, distances: Tensor) -> Tensor:
        """Return by how much logits are divided at these distances `[N]`, 1 or more."""
        rule = self.rule
        return torch.exp((rule.log_temperature_offset + rule.log_temperature_slope * distances).clamp(min=0.0))

    def add(self, rows: Sequence[int], pooled: Tensor, speech_s: Sequence[float]) -> None:
        """Take a window of each of these N rows, `[N, 640]`, for so many seconds of speech, into their histories."""
        keep = [math.exp(-seconds / self.rule.memory_s) for seconds in speech_s]
        factors = upload(torch.tensor([keep, list(speech_s)]), self._sums.device)[:, :, None]  # [2, N, 1]
        index = upload(torch.tensor(list(rows)), self._sums.device)
        self._sums[index] = factors[0] * self._sums[index] + factors[1] * (pooled - self._mean)
        for row, kept, seconds in zip(rows, keep, speech_s, strict=True):
            self._weights_s[row] = kept * self._weights_s[row] + seconds
            self._heard_s[row] += seconds
