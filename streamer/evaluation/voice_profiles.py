"""The effect of voice profiles: test clips with and without the offset of their speaker's neutral embedding."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from streamer.arrays import Float32Array
from streamer.constants import EMBEDDING_DIM
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip, Corpus
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.labels import LABELS
from streamer.emotion.profile import neutral_offset
from streamer.emotion.profile_offset import subtract_offsets
from streamer.progress import Progress
from streamer.training.losses import label_mask
from streamer.training.metrics import bootstrap_interval, uar_of_rows
from streamer.training.neutral_mean import WINDOW_S
from streamer.training.predict import ClipEncoder, classify_pooled

MOST_CLIPS = 8  # of neutral speech, some 20 s: the length that `streamer calibrate` records
_PART = 64  # clips encoded between two moves of the progress bar


@dataclass(frozen=True, slots=True)
class VoiceProfileEffect:
    """Figures of whole clips of speakers with neutral clips, before and after applying a voice profile."""

    speakers: int
    clips: int
    uar_before: float
    uar_after: float
    difference: tuple[float, float]  # 95 % interval of after less before, speakers drawn with replacement


def measure_voice_profiles(
    model: EmotionDetectionModel,
    audio: AudioStore,
    corpus: Corpus,
    pooled: Mapping[Clip, Float32Array],
    seed: int,
    progress: Progress[Any],
) -> VoiceProfileEffect | None:
    """Classify whole clips without and with a profile of up to MOST_CLIPS of the speaker's neutral clips.

    A clip is never part of its own profile. None if the checkpoint's card has no neutral mean, or no speaker has two
    neutral clips.

    Args:
        model: a loaded model.
        audio: the clips' recordings.
        corpus: predictions are among its labels.
        pooled: the pooled vector `[640]` of each test clip.
        seed: of the drawn clips and of the bootstrap interval.
        progress: shows the progress of a loop.
    """
    neutral_mean = None if model.card is None else model.card.neutral_mean
    neutral = Counter(clip.speaker for clip in pooled if clip.label == "neutral")
    clips = [clip for clip in pooled if neutral[clip.speaker] > 1]
    if neutral_mean is None or not clips:
        return None
    reference = [clip for clip in clips if clip.label == "neutral"]
    parts = progress(
        [reference[at : at + _PART] for at in range(0, len(reference), _PART)], f"voice profiles, {corpus.name}"
    )
    encoder = ClipEncoder.from_audio(model, audio)
    middles = np.concatenate([encoder.pooled(part, WINDOW_S) for part in parts])
    means = dict(zip(reference, middles[:, :EMBEDDING_DIM], strict=True))
    profiles = _neutral_embeddings(means, clips, seed)  # [N, 128]
    shifts = np.array([neutral_offset(profile.tolist(), neutral_mean) for profile in profiles], dtype=np.float32)
    targets = np.array([LABELS.index(clip.label) for clip in clips])
    vectors = np.stack([pooled[clip] for clip in clips])  # [N, 640]
    before, after = (_predict(model, corpus, vectors, by) for by in (np.zeros_like(shifts), shifts))

    def gain(rows: npt.NDArray[np.int64]) -> float:
        return uar_of_rows(targets, after, rows) - uar_of_rows(targets, before, rows)

    every = np.arange(len(clips))
    return VoiceProfileEffect(
        speakers=len({clip.speaker for clip in clips}),
        clips=len(clips),
        uar_before=uar_of_rows(targets, before, every),
        uar_after=uar_of_rows(targets, after, every),
        difference=bootstrap_interval(gain, [clip.speaker for clip in clips], seed),
    )


def _neutral_embeddings(means: Mapping[Clip, Float32Array], clips: Sequence[Clip], seed: int) -> Float32Array:
    """Return the neutral embeddings `[N, 128]` of the profiles for N clips, from the `means [128]` of neutral clips."""
    rng = np.random.default_rng([seed, 2])
    by_speaker: dict[str, list[Clip]] = defaultdict(list)
    for clip in means:
        by_speaker[clip.speaker].append(clip)
    embeddings = []
    for clip in clips:
        others = [other for other in by_speaker[clip.speaker] if other != clip]
        drawn = rng.permutation(len(others))[:MOST_CLIPS]
        embeddings.append(np.mean([means[others[place]] for place in drawn], axis=0))
    return np.stack(embeddings)


def _predict(
    model: EmotionDetectionModel, corpus: Corpus, pooled: Float32Array, shifts: Float32Array
) -> npt.NDArray[np.int64]:
    """Return the columns `[N]` of the most probable of the corpus's labels."""
    shifted: Float32Array = subtract_offsets(torch.from_numpy(pooled), torch.from_numpy(shifts)).numpy()
    columns: npt.NDArray[np.int64] = classify_pooled(model, shifted, label_mask(corpus.labels)).argmax(axis=1)
    return columns
