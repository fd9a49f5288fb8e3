"""What `model.precision` costs: clips through the streaming encoder in each precision, beside float32."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from streamer.codec.cpu.pack import PRECISIONS, Precision, supported
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip, Corpus
from streamer.emotion import EmotionDetectionModel
from streamer.progress import Progress
from streamer.training.predict import ClipEncoder, Logits, Predictions, StreamedFrames, load_audio

_ROWS = 16  # clips that are heard at once


@dataclass(frozen=True)
class PrecisionEffect:
    """One precision on this processor."""

    uars: dict[str, float]  # of whole clips, corpus by corpus
    unchanged: float  # share of clips whose answer, among their corpus's labels, is that of float32
    embedding_error: float  # root mean square of the embeddings' change, relative to that of the embeddings


def measure_precisions(
    model: EmotionDetectionModel,
    audio: AudioStore,
    corpora: Sequence[Corpus],
    clips: Sequence[Clip],
    progress: Progress[Any],
) -> dict[str, PrecisionEffect]:
    """Each precision that this processor has, float32 first.

    Args:
        model: on the CPU; left as it is.
        audio: the clips' recordings.
        corpora: tell which labels a clip can have.
        clips: at least one.
        progress: shows how far it is.
    """
    streamed = {precision: _Streamed(model, precision) for precision in PRECISIONS if supported(precision)}
    load = load_audio(audio)
    for part in progress([clips[at : at + _ROWS] for at in range(0, len(clips), _ROWS)], "precisions"):
        for one in streamed.values():
            one.logits.append(ClipEncoder(model, load, one).predict(corpora, part).logits)
            one.compare(streamed["float32"].frames)
    said = {precision: Predictions(tuple(clips), np.concatenate(one.logits)) for precision, one in streamed.items()}
    return {
        precision: PrecisionEffect(
            uars=said[precision].uars(),
            unchanged=float(np.mean(said[precision].predicted == said["float32"].predicted)),
            embedding_error=(one.error / one.power) ** 0.5,
        )
        for precision, one in streamed.items()
    }


@dataclass
class _Streamed:
    """A copy of the model's encoder that hears as the worker does, in one precision; and what comes of it."""

    model: EmotionDetectionModel
    precision: Precision
    logits: list[Logits] = field(default_factory=list)
    error: float = 0.0  # sum of squares of what differs from float32
    power: float = 0.0  # sum of squares of float32's embeddings

    def __post_init__(self) -> None:
        encoder = deepcopy(self.model.encoder)
        encoder.precision = self.precision
        self._stream = StreamedFrames(encoder, _ROWS)
        self.frames = torch.empty(0)  # [B, 128, F] of the newest clips

    def __call__(self, levelled: Tensor) -> Tensor:
        """`[B, T]`, B up to _ROWS, to frames `[B, 128, F]`."""
        self.frames = self._stream(levelled)
        return self.frames

    def compare(self, exact: Tensor) -> None:
        """Count in how far the newest embeddings are from those of float32."""
        self.error += float((self.frames - exact).double().square().sum())
        self.power += float(exact.double().square().sum())
