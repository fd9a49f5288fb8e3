"""Classify pooled windows in the light of their streams: voice profiles, running means, distance."""

from collections.abc import Sequence

import torch
from torch import Tensor

from streamer.emotion.history import RunningMeans
from streamer.emotion.model import EmotionDetectionModel
from streamer.emotion.profile_offset import ProfileOffsets
from streamer.events import Familiarity


class StreamClassifier:
    """The model's classifier with what it knows of each of B streams.

    A checkpoint without a history subtracts voice profiles and nothing else.

    Args:
        model: on its device.
        batch_size: number of rows; `grow` adds more.
    """

    def __init__(self, model: EmotionDetectionModel, batch_size: int) -> None:
        self._model = model
        device = next(model.parameters()).device
        self._profiles = ProfileOffsets(batch_size, device)
        self._history = None if model.history is None else RunningMeans(model.history, batch_size, device)

    def grow(self, batch_size: int) -> None:
        """Make room for more rows, `batch_size` in all; the others stay as they are."""
        self._profiles.grow(batch_size)
        if self._history is not None:
            self._history.grow(batch_size)

    def set_voice(self, row: int, offset: Sequence[float] | None) -> None:
        """Use a voice profile's offset [128] in `row`: as what its history begins with, where there is one."""
        if self._history is None:
            self._profiles.set(row, offset)
        else:
            self._history.set_voice(row, offset)

    def forget(self, row: int) -> None:
        """Forget what `row` has heard, but for its voice profile."""
        if self._history is not None:
            self._history.forget(row)

    def classify(self, pooled: Tensor, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Classify the pooled windows `[N, 640]` of these N rows: logits `[N, labels]` and distances `[N, 1]`."""
        if self._history is None:
            return self._model.classify(self._profiles.apply(pooled, rows)), torch.zeros_like(pooled[:, :1])
        shifts = self._history.shifts(rows)  # [N, 640]
        distances = self._history.distances(shifts)  # [N]
        logits = self._model.classify_in_stream(pooled, shifts, self._history.beliefs(rows))
        logits = logits / self._history.temperatures(distances)[:, None]
        return logits, distances[:, None]

    def remember(self, rows: Sequence[int], pooled: Tensor, speech_s: Sequence[float]) -> None:
        """Take windows of speech `[N, 640]`, which stand for so many seconds, into the histories of these N rows."""
        if self._history is not None and rows:
            self._history.add(rows, pooled, speech_s)

    def familiarity(self, row: int, distance: float) -> Familiarity | None:
        """Return how well the stream in `row`, at that distance, is known; None without a history."""
        if self._history is None:
            return None
        rule = self._history.rule
        if self._history.heard_s(row) < rule.prior_s:
            return "new"
        return "unfamiliar" if distance > rule.unfamiliar else "known"
