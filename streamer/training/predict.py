"""Encode whole clips with one model: pooled vectors and logits, from decoded audio or from cached features (stems)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streamer.arrays import Float32Array
from streamer.audio.front_end import normalize_batch
from streamer.codec import Encoder, StreamingEncoder
from streamer.constants import DEFAULT_HOP_S, FRAME_RATE, FRAME_SAMPLES, POOLED_DIM
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip, Corpus
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.labels import LABELS
from streamer.training.losses import label_mask
from streamer.training.metrics import uar
from streamer.training.stems import StemStore, as_tensor

_STEP_SAMPLES = round(DEFAULT_HOP_S * FRAME_RATE) * FRAME_SAMPLES  # the monitor's default hop: 18 frames, 5,760 samples
_BATCH = 16  # clips encoded at once

Logits = npt.NDArray[np.float64]
ClipBatch = tuple[Tensor, list[int]]  # [B, F x 320] audio or [B, F, D] features, and the frame count of each row
LoadClips = Callable[[Sequence[Clip]], ClipBatch]
Encode = Callable[[Tensor], Tensor]  # from what a LoadClips returns to frames [B, 128, F]


@dataclass(frozen=True)
class Predictions:
    """Uncalibrated logits of N clips; minus infinity where the clip's corpus lacks the label."""

    clips: tuple[Clip, ...]
    logits: Logits  # [N, 8]

    @property
    def targets(self) -> npt.NDArray[np.int64]:
        """`[N]` columns of the clips' labels."""
        return np.array([LABELS.index(clip.label) for clip in self.clips], dtype=np.int64)

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """`[N]` columns of the largest logits."""
        columns: npt.NDArray[np.int64] = self.logits.argmax(axis=1)
        return columns

    def of_corpus(self, name: str) -> "Predictions":
        """Select the clips of one corpus."""
        rows = [row for row, clip in enumerate(self.clips) if clip.corpus == name]
        return Predictions(tuple(self.clips[row] for row in rows), self.logits[rows])

    def uars(self) -> dict[str, float]:
        """Unweighted average recall by corpus."""
        names = dict.fromkeys(clip.corpus for clip in self.clips)
        parts = {name: self.of_corpus(name) for name in names}
        return {name: uar(part.targets, part.predicted) for name, part in parts.items()}


@dataclass(frozen=True)
class ClipEncoder:
    """Encodes whole clips with one model and pools windows of their frames.

    `from_audio` builds the usual one; `replace(encoder, load=...)` encodes changed recordings.
    """

    model: EmotionDetectionModel  # its pooling and classifier are used; left in evaluation mode
    load: LoadClips
    encode: Encode

    @classmethod
    def from_audio(cls, model: EmotionDetectionModel, audio: AudioStore) -> Self:
        """Encode decoded recordings: in steps of the monitor's hop on the CPU, offline on other devices."""
        return cls(model, load_audio(audio, model.highpass_hz), offline_encoding(model))

    def pooled(self, clips: Sequence[Clip], window_s: float | None = None) -> Float32Array:
        """`[N, 640]` pooled vectors of N clips, of which the middle `window_s` counts; None: the whole clip."""
        vectors: Float32Array = self.pooled_windows(clips, (window_s,))[0]
        return vectors

    def pooled_windows(self, clips: Sequence[Clip], windows_s: Sequence[float | None]) -> Float32Array:
        """`[W, N, 640]` pooled vectors of W windows of each of N clips; each clip is encoded once."""
        vectors = np.empty((len(windows_s), len(clips), POOLED_DIM), dtype=np.float32)
        device = next(self.model.parameters()).device
        self.model.eval()
        with torch.inference_mode():
            for rows in _batches(clips):
                inputs, counts = self.load([clips[row] for row in rows])
                frames = self.encode(inputs.to(device))  # [B, 128, F]
                for place, window_s in enumerate(windows_s):
                    middle = _middle(counts, frames.shape[2], window_s).to(device)  # [B, F]
                    pooled, _ = self.model.pooling(frames, middle)  # [B, 640]
                    vectors[place, rows] = pooled.float().cpu().numpy()
        return vectors

    def predict(self, corpora: Sequence[Corpus], clips: Sequence[Clip], window_s: float | None = None) -> Predictions:
        """Classify the middle `window_s` of each clip (None: all of it) among the labels of its corpus."""
        return self.predict_windows(corpora, clips, (window_s,))[0]

    def predict_windows(
        self, corpora: Sequence[Corpus], clips: Sequence[Clip], windows_s: Sequence[float | None]
    ) -> list[Predictions]:
        """Classify W windows of each clip, as `predict` does for one; each clip is encoded once."""
        vectors = self.pooled_windows(clips, windows_s)
        return [classify_clips(self.model, corpora, clips, of_window) for of_window in vectors]


def classify_clips(
    model: EmotionDetectionModel, corpora: Sequence[Corpus], clips: Sequence[Clip], pooled: Float32Array
) -> Predictions:
    """Classify pooled vectors `[N, 640]` of N clips, each among the labels of its corpus."""
    present = {corpus.name: label_mask(corpus.labels) for corpus in corpora}
    masks = np.stack([present[clip.corpus] for clip in clips])  # [N, 8]
    return Predictions(tuple(clips), classify_pooled(model, pooled, masks))


def classify_pooled(model: EmotionDetectionModel, pooled: Float32Array, mask: npt.NDArray[np.bool_]) -> Logits:
    """Return logits `[N, 8]` of pooled vectors `[N, 640]`, minus infinity outside of `mask` (`[8]` or `[N, 8]`)."""
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        logits: Logits = model.classifier(torch.from_numpy(pooled).to(device)).float().cpu().double().numpy()
    return np.where(mask, logits, -np.inf)


class StreamedFrames:
    """Encodes several recordings at once in steps of the monitor's hop; on the CPU this is faster than offline.

    Args:
        encoder: its weights and precision are used; copied.
        rows: recordings encoded at once; a larger batch is cut into several.
    """

    def __init__(self, encoder: Encoder, rows: int) -> None:
        self.rows = rows
        self._encoder = StreamingEncoder(encoder, rows)

    def __call__(self, levelled: Tensor) -> Tensor:
        """Encode level-normalised audio `[B, T]` to frames `[B, 128, ceil(T / 320)]`."""
        return torch.cat([self._stream(part) for part in torch.split(levelled, self.rows)])

    def _stream(self, levelled: Tensor) -> Tensor:
        audio = torch.zeros(self.rows, 1, levelled.shape[1])
        audio[: len(levelled), 0] = levelled
        self._encoder.reset()
        frames = [*map(self._encoder.step, torch.split(audio, _STEP_SAMPLES, dim=-1)), self._encoder.flush()]
        return torch.cat(frames, dim=-1)[: len(levelled)]


def offline_encoding(model: EmotionDetectionModel) -> Encode:
    """Return the function from level-normalised audio `[B, T]`, T whole frames, to the model's frames `[B, 128, F]`."""
    if next(model.parameters()).is_cpu:
        return StreamedFrames(model.encoder, _BATCH)
    return partial(_encode_offline, model)


def _encode_offline(model: EmotionDetectionModel, levelled: Tensor) -> Tensor:
    frames: Tensor = model.encoder(levelled[:, None])
    return frames


def load_audio(audio: AudioStore, highpass_hz: float | None) -> LoadClips:
    """Return the function that reads whole clips through high-pass and level normaliser: `[B, F x 320]`."""

    def load(clips: Sequence[Clip]) -> ClipBatch:
        levelled, frames = normalize_batch([audio[clip.key] for clip in clips], highpass_hz)
        return torch.from_numpy(levelled), frames

    return load


def load_stems(store: StemStore) -> LoadClips:
    """Return the function that reads cached features of clean clips: `[B, F, D]`."""

    def load(clips: Sequence[Clip]) -> ClipBatch:
        rows = [as_tensor(store.versions[0][clip.key]) for clip in clips]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), [len(row) for row in rows]

    return load


def _batches(clips: Sequence[Clip]) -> Iterator[list[int]]:
    """Yield rows of clips in batches, corpus by corpus: within one, lengths are alike and little is padded."""
    order = sorted(range(len(clips)), key=lambda row: clips[row].corpus)
    for first in range(0, len(order), _BATCH):
        yield order[first : first + _BATCH]


def _middle(counts: Sequence[int], most: int, window_s: float | None) -> Tensor:
    """`[B, most] bool`: the middle `window_s` of each row's frames."""
    total = torch.tensor(counts)
    wanted = total if window_s is None else total.clamp(max=max(1, round(window_s * FRAME_RATE)))
    first = (total - wanted) // 2
    places = torch.arange(most)
    return (places >= first[:, None]) & (places < (first + wanted)[:, None])
