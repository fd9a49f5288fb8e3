"""What voice profiles are set against: the balanced_mean of the neutral speech of the speakers that were trained on."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

import numpy as np
from torch import Tensor

from streamer.arrays import Float64Array
from streamer.constants import EMBEDDING_DIM
from streamer.corpora.corpus import Clip
from streamer.corpora.splits import speaker_of
from streamer.emotion import EmotionDetectionModel
from streamer.training.predict import ClipBatch, pooled_vectors

WINDOW_S = 2.0  # from the balanced_mean of a clip: little of the silence around the voice is in it


def neutral_mean(
    model: EmotionDetectionModel,
    to_frames: Callable[[Tensor], Tensor],
    load: Callable[[Sequence[Clip]], ClipBatch],
    clips: Sequence[Clip],
) -> tuple[float, ...] | None:
    """`[128]` for the card of `model`: the mean over corpora of their speakers' means of their neutral clips' means.

    Args:
        model: its encoder, as `to_frames` uses it, and its pooling.
        to_frames: from what `load` gives to `[B, 128, F]`.
        load: reads some clips.
        clips: of the training speakers, with any labels; None comes back where none of them is neutral.
    """
    neutral = [clip for clip in clips if clip.label == "neutral"]
    if not neutral:
        return None
    mean = balanced_mean(_vectors(model, to_frames, load, neutral), neutral)
    return tuple(round(value, 5) for value in mean.tolist())


def differences(
    model: EmotionDetectionModel,
    to_frames: Callable[[Tensor], Tensor],
    load: Callable[[Sequence[Clip]], ClipBatch],
    clips: Sequence[Clip],
    known: Collection[str] | None = None,
) -> dict[str, Float64Array]:
    """By how much the neutral voice of each speaker (`corpus/name`) who has one differs from the balanced_mean: `[128]`.

    Arguments are those of `neutral_mean`, and `known`: whose voices have the balanced_mean, as `corpus/name`; everyone's if None.
    """
    neutral = [clip for clip in clips if clip.label == "neutral"]
    central = [row for row, clip in enumerate(neutral) if known is None or speaker_of(clip) in known]
    if not central:
        return {}
    vectors = _vectors(model, to_frames, load, neutral)
    centre = balanced_mean(vectors[central], [neutral[row] for row in central])
    rows: dict[str, list[int]] = defaultdict(list)
    for row, clip in enumerate(neutral):
        rows[speaker_of(clip)].append(row)
    return {speaker: vectors[own].mean(0) - centre for speaker, own in rows.items()}


def _vectors(
    model: EmotionDetectionModel,
    to_frames: Callable[[Tensor], Tensor],
    load: Callable[[Sequence[Clip]], ClipBatch],
    clips: Sequence[Clip],
) -> Float64Array:
    """`[N, 128]` attentive means of the middles of N clips."""
    return pooled_vectors(model, to_frames, load, clips, [WINDOW_S])[0, :, :EMBEDDING_DIM].astype(np.float64)


def balanced_mean(vectors: Float64Array, clips: Sequence[Clip]) -> Float64Array:
    """`[D]` of `[N, D]` vectors of N clips: every speaker counts alike in a corpus, and every corpus alike."""
    rows: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, clip in enumerate(clips):
        rows[clip.corpus][clip.speaker].append(row)
    corpora = [np.mean([vectors[own].mean(0) for own in speakers.values()], axis=0) for speakers in rows.values()]
    mean: Float64Array = np.mean(corpora, axis=0)
    return mean
