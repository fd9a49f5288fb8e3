"""Neutral embeddings of speakers, and their balanced mean: the reference that voice profiles are set against."""

from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np

from streamer.arrays import Float64Array
from streamer.constants import EMBEDDING_DIM
from streamer.corpora.corpus import Clip
from streamer.training.predict import ClipEncoder

WINDOW_S = 2.0  # from the middle of a clip: little of the silence around the speech is in it


def neutral_mean(encoder: ClipEncoder, clips: Sequence[Clip]) -> tuple[float, ...] | None:
    """Return the `balanced_mean` `[128]` of the neutral clips among `clips`, for a card; None without neutral clips."""
    neutral = [clip for clip in clips if clip.label == "neutral"]
    if not neutral:
        return None
    mean = balanced_mean(_neutral_vectors(encoder, neutral), neutral)
    return tuple(round(value, 5) for value in mean.tolist())


def neutral_offsets(
    encoder: ClipEncoder, clips: Sequence[Clip], reference_speakers: Collection[str] | None = None
) -> dict[str, Float64Array]:
    """Return each speaker's offset `[128]`: the mean of his or her neutral clips, less the balanced mean.

    Args:
        encoder: encodes and pools the clips.
        clips: with any labels; speakers without a neutral clip are left out.
        reference_speakers: ids of the speakers that the balanced mean is of; None: all. {} if none of them has a
            neutral clip.
    """
    neutral = [clip for clip in clips if clip.label == "neutral"]
    reference = [
        row for row, clip in enumerate(neutral) if reference_speakers is None or clip.speaker_id in reference_speakers
    ]
    if not reference:
        return {}
    vectors = _neutral_vectors(encoder, neutral)
    centre = balanced_mean(vectors[reference], [neutral[row] for row in reference])
    rows: dict[str, list[int]] = defaultdict(list)
    for row, clip in enumerate(neutral):
        rows[clip.speaker_id].append(row)
    return {speaker: vectors[own].mean(0) - centre for speaker, own in rows.items()}


def balanced_mean(vectors: Float64Array, clips: Sequence[Clip]) -> Float64Array:
    """Average vectors `[N, D]` of N clips to `[D]`: speakers weigh alike within a corpus, and corpora weigh alike."""
    rows: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, clip in enumerate(clips):
        rows[clip.corpus][clip.speaker].append(row)
    corpora = [np.mean([vectors[own].mean(0) for own in speakers.values()], axis=0) for speakers in rows.values()]
    mean: Float64Array = np.mean(corpora, axis=0)
    return mean


def _neutral_vectors(encoder: ClipEncoder, clips: Sequence[Clip]) -> Float64Array:
    """`[N, 128]` attentive means of the middles of N clips."""
    return encoder.pooled(clips, WINDOW_S)[:, :EMBEDDING_DIM].astype(np.float64)
