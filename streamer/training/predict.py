"""What a model says of clips: logits over whole clips, and over windows from their middle."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streamer.audio.level import normalize_batch
from streamer.codec import Encoder, StreamingEncoder
from streamer.constants import FRAME_RATE, FRAME_SAMPLES
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip, Corpus
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.labels import LABELS
from streamer.emotion.pooling import POOLED_DIM
from streamer.training.losses import label_mask
from streamer.training.metrics import uar
from streamer.training.stems import StemStore

_STEP = round(0.24 * FRAME_RATE) * FRAME_SAMPLES  # the monitor's default hop: 18 frames


class StreamedFrames:
    """Levelled audio to frames, several recordings at once.

    Args:
        encoder: whose weights, and whose precision; copied.
        rows: how many recordings at once; more are taken one lot after the other.
    """

    def __init__(self, encoder: Encoder, rows: int) -> None:
        self.rows = rows
        self._encoder = StreamingEncoder(encoder, rows)

    def __call__(self, levelled: Tensor) -> Tensor:
        """`[B, T]` to `[B, 128, ceil(T / 320)]`."""
        return torch.cat([self._stream(lot) for lot in torch.split(levelled, self.rows)])

    def _stream(self, levelled: Tensor) -> Tensor:
        audio = torch.zeros(self.rows, 1, levelled.shape[1])
        audio[: len(levelled), 0] = levelled
        self._encoder.reset()
        frames = [*map(self._encoder.step, torch.split(audio, _STEP, dim=-1)), self._encoder.flush()]
        return torch.cat(frames, dim=-1)[: len(levelled)]


Logits = npt.NDArray[np.float64]
ClipBatch = tuple[Tensor, list[int]]  # [B, F x 320] audio or [B, F, 512] features, and the frames of each row
_BATCH = 16


@dataclass(frozen=True)
class Predictions:
    """Uncalibrated logits of N clips, minus infinity where the clip's corpus lacks the label."""

    clips: tuple[Clip, ...]
    logits: Logits  # [N, 8]

    @property
    def answers(self) -> npt.NDArray[np.int64]:
        """`[N]` the right columns."""
        return np.array([LABELS.index(clip.label) for clip in self.clips], dtype=np.int64)

    @property
    def guesses(self) -> npt.NDArray[np.int64]:
        """`[N]` the columns of the largest logits."""
        columns: npt.NDArray[np.int64] = self.logits.argmax(axis=1)
        return columns

    def of_corpus(self, name: str) -> "Predictions":
        """Those of one corpus."""
        rows = [row for row, clip in enumerate(self.clips) if clip.corpus == name]
        return Predictions(tuple(self.clips[row] for row in rows), self.logits[rows])

    def uars(self) -> dict[str, float]:
        """Unweighted average recall, corpus by corpus."""
        names = dict.fromkeys(clip.corpus for clip in self.clips)
        parts = {name: self.of_corpus(name) for name in names}
        return {name: uar(part.answers, part.guesses) for name, part in parts.items()}


def predict(
    model: EmotionDetectionModel,
    to_frames: Callable[[Tensor], Tensor],
    load: Callable[[Sequence[Clip]], ClipBatch],
    corpora: Sequence[Corpus],
    clips: Sequence[Clip],
    windows_s: Sequence[float | None] = (None,),
) -> list[Predictions]:
    """Logits of every clip, for each length of window; None is the whole clip.

    Args:
        model: its pooling and classifier are used; left in evaluation mode.
        to_frames: from what `load` gives to `[B, 128, F]`.
        load: reads some clips.
        corpora: tell which labels a clip can have.
        clips: at least one.
        windows_s: lengths; a window lies in the middle of the clip's frames.
    """
    vectors = pooled_vectors(model, to_frames, load, clips, windows_s)
    return [predictions_of(model, corpora, clips, of_one) for of_one in vectors]


def predictions_of(
    model: EmotionDetectionModel, corpora: Sequence[Corpus], clips: Sequence[Clip], pooled: npt.NDArray[np.float32]
) -> Predictions:
    """What the classifier says of pooled windows `[N, 640]`, one of each of N clips."""
    present = {corpus.name: label_mask(corpus.labels) for corpus in corpora}
    return Predictions(tuple(clips), classified(model, pooled, np.stack([present[clip.corpus] for clip in clips])))


def pooled_vectors(
    model: EmotionDetectionModel,
    to_frames: Callable[[Tensor], Tensor],
    load: Callable[[Sequence[Clip]], ClipBatch],
    clips: Sequence[Clip],
    windows_s: Sequence[float | None] = (None,),
) -> npt.NDArray[np.float32]:
    """`[W, N, 640]` what the classifier is given of W windows of each of N clips; arguments are those of `predict`."""
    vectors = np.empty((len(windows_s), len(clips), POOLED_DIM), dtype=np.float32)
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        for rows in _batches(clips):
            inputs, counts = load([clips[row] for row in rows])
            frames = to_frames(inputs.to(device))
            for place, window_s in enumerate(windows_s):
                pooled, _ = model.pooling(frames, _middle(counts, frames.shape[2], window_s).to(device))
                vectors[place, rows] = pooled.float().cpu().numpy()
    return vectors


def classified(model: EmotionDetectionModel, pooled: npt.NDArray[np.float32], present: npt.NDArray[np.bool_]) -> Logits:
    """`[N, 8]` logits of pooled windows `[N, 640]`, minus infinity for labels that are not `present` (`[8]` or `[N, 8]`)."""
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        logits: Logits = model.classifier(torch.from_numpy(pooled).to(device)).float().cpu().double().numpy()
    return np.where(present, logits, -np.inf)


def encoded_by(model: EmotionDetectionModel) -> Callable[[Tensor], Tensor]:
    """From levelled audio `[B, T]`, T whole hops, to the model's frames `[B, 128, F]`."""
    if next(model.parameters()).is_cpu:
        return StreamedFrames(model.encoder, _BATCH)

    def encode(levelled: Tensor) -> Tensor:
        frames: Tensor = model.encoder(levelled[:, None])
        return frames

    return encode


def load_audio(audio: AudioStore) -> Callable[[Sequence[Clip]], ClipBatch]:
    """Whole clips through the level normaliser: `[B, F x 320]`."""

    def load(clips: Sequence[Clip]) -> ClipBatch:
        levelled, frames = normalize_batch([audio[clip.key] for clip in clips])
        return torch.from_numpy(levelled), frames

    return load


def load_stems(store: StemStore) -> Callable[[Sequence[Clip]], ClipBatch]:
    """Stored features of the clean clips, below the layers that learn: `[B, F, D]`."""

    def load(clips: Sequence[Clip]) -> ClipBatch:
        rows = [torch.from_numpy(np.array(store.versions[0][clip.key])) for clip in clips]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), [len(row) for row in rows]

    return load


def _batches(clips: Sequence[Clip]) -> Iterator[list[int]]:
    """Rows of clips, those of one corpus side by side: their lengths are alike."""
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
