"""The effect of `model.precision`: clips through the streaming encoder in each precision, compared with float32."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from streamer.codec.cpu.pack import supported
from streamer.codec.precision import PRECISIONS, Precision
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip, Corpus
from streamer.emotion import EmotionDetectionModel
from streamer.progress import Progress
from streamer.training.predict import ClipEncoder, Logits, Predictions, StreamedFrames, load_audio

_ROWS = 16  # clips encoded at once


@dataclass(frozen=True)
class PrecisionEffect:
    """One precision on this processor."""

    uars: dict[str, float]  # of whole clips, by corpus
    unchanged: float  # share of clips whose prediction, among their corpus's labels, is that of float32
    embedding_error: float  # root mean square of the embeddings' change, relative to that of the embeddings


def measure_precisions(
    model: EmotionDetectionModel,
    audio: AudioStore,
    corpora: Sequence[Corpus],
    clips: Sequence[Clip],
    progress: Progress[Any],
) -> dict[str, PrecisionEffect]:
    """Measure each precision that this processor supports, float32 first.

    Args:
        model: on the CPU; not changed.
        audio: the clips' recordings.
        corpora: their labels restrict the predictions.
        clips: at least one.
        progress: shows the progress of a loop.
    """
    streamed = {precision: _StreamedEncoder(model, precision) for precision in PRECISIONS if supported(precision)}
    load = load_audio(audio, model.highpass_hz)
    for part in progress([clips[at : at + _ROWS] for at in range(0, len(clips), _ROWS)], "precisions"):
        for one in streamed.values():
            one.logits.append(ClipEncoder(model, load, one).predict(corpora, part).logits)
            one.add_error(streamed["float32"].frames)
    predictions = {
        precision: Predictions(tuple(clips), np.concatenate(one.logits)) for precision, one in streamed.items()
    }
    exact = predictions["float32"].predicted
    return {
        precision: PrecisionEffect(
            uars=predictions[precision].uars(),
            unchanged=float(np.mean(predictions[precision].predicted == exact)),
            embedding_error=(one.error / one.power) ** 0.5,
        )
        for precision, one in streamed.items()
    }


@dataclass
class _StreamedEncoder:
    """A copy of the model's encoder that runs in steps, as in the worker, in one precision; and its figures."""

    model: EmotionDetectionModel
    precision: Precision
    logits: list[Logits] = field(default_factory=list)
    error: float = 0.0  # sum of squares of the difference from float32
    power: float = 0.0  # sum of squares of float32's embeddings

    def __post_init__(self) -> None:
        encoder = deepcopy(self.model.encoder)
        encoder.precision = self.precision
        self._stream = StreamedFrames(encoder, _ROWS)
        self.frames = torch.empty(0)  # [B, 128, F] of the newest clips

    def __call__(self, levelled: Tensor) -> Tensor:
        """Encode level-normalised audio `[B, T]`, B up to _ROWS, to frames `[B, 128, F]`."""
        self.frames = self._stream(levelled)
        return self.frames

    def add_error(self, exact: Tensor) -> None:
        """Add the difference of the newest frames from float32's, `exact [B, 128, F]`."""
        self.error += float((self.frames - exact).double().square().sum())
        self.power += float(exact.double().square().sum())
