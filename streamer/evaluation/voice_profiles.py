"""What calibrating a voice is worth: a speaker's clips as they are, and with that speaker's neutral voice taken out."""

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
from streamer.emotion.profile import shift_of
from streamer.emotion.shift import take_out
from streamer.progress import Progress
from streamer.training.losses import label_mask
from streamer.training.metrics import bootstrap_interval, uar_of_rows
from streamer.training.neutral_mean import WINDOW_S
from streamer.training.predict import ClipEncoder, classify_pooled

MOST_CLIPS = 8  # of neutral speech, some 20 s: what `streamer calibrate` asks for
_PART = 64  # clips that are heard between two moves of the progress bar


@dataclass(frozen=True, slots=True)
class CalibratedVoices:
    """Whole clips of speakers who have neutral ones; the same clips before and after."""

    speakers: int
    clips: int
    uar_before: float
    uar_after: float
    difference: tuple[float, float]  # 95 % of after less before, speakers drawn with replacement


def measure_calibrated(
    model: EmotionDetectionModel,
    audio: AudioStore,
    corpus: Corpus,
    whole: Mapping[Clip, Float32Array],
    seed: int,
    progress: Progress[Any],
) -> CalibratedVoices | None:
    """Answers to whole clips of test speakers without and with a profile of up to MOST_CLIPS of their neutral clips.

    The clip that is answered to is never one of those. None where the checkpoint's card has no neutral mean, or no speaker
    two neutral clips.

    Args:
        model: a loaded one.
        audio: holds the clips.
        corpus: that they are of; answers are among its labels.
        whole: the test speakers' clips, and of each `[640]` what the classifier is given of all of it.
        seed: of what is drawn.
        progress: shows how far it is.
    """
    usual = None if model.card is None else model.card.neutral_mean
    neutral = Counter(clip.speaker for clip in whole if clip.label == "neutral")
    chosen = [clip for clip in whole if neutral[clip.speaker] > 1]
    if usual is None or not chosen:
        return None
    spoken = [clip for clip in chosen if clip.label == "neutral"]
    parts = progress([spoken[at : at + _PART] for at in range(0, len(spoken), _PART)], f"calibrating {corpus.name}")
    encoder = ClipEncoder.from_audio(model, audio)
    middles = np.concatenate([encoder.pooled(part, WINDOW_S) for part in parts])
    means = dict(zip(spoken, middles[:, :EMBEDDING_DIM], strict=True))
    shifts = np.array([shift_of(voice.tolist(), usual) for voice in _voices(means, chosen, seed)], dtype=np.float32)
    answers = np.array([LABELS.index(clip.label) for clip in chosen])
    pooled = np.stack([whole[clip] for clip in chosen])
    before, after = (_guesses(model, corpus, pooled, by) for by in (np.zeros_like(shifts), shifts))

    def gain(rows: npt.NDArray[np.int64]) -> float:
        return uar_of_rows(answers, after, rows) - uar_of_rows(answers, before, rows)

    every = np.arange(len(chosen))
    return CalibratedVoices(
        speakers=len({clip.speaker for clip in chosen}),
        clips=len(chosen),
        uar_before=uar_of_rows(answers, before, every),
        uar_after=uar_of_rows(answers, after, every),
        difference=bootstrap_interval(gain, [clip.speaker for clip in chosen], seed),
    )


def _voices(means: Mapping[Clip, Float32Array], clips: Sequence[Clip], seed: int) -> Float32Array:
    """`[N, 128]` the neutral voice that a profile holds for each of N clips, of the attentive `means [128]` of neutral ones."""
    rng = np.random.default_rng([seed, 2])
    spoken: dict[str, list[Clip]] = defaultdict(list)
    for clip in means:
        spoken[clip.speaker].append(clip)
    voices = []
    for clip in clips:
        others = [other for other in spoken[clip.speaker] if other != clip]
        drawn = rng.permutation(len(others))[:MOST_CLIPS]
        voices.append(np.mean([means[others[place]] for place in drawn], axis=0))
    return np.stack(voices)


def _guesses(
    model: EmotionDetectionModel, corpus: Corpus, pooled: Float32Array, shifts: Float32Array
) -> npt.NDArray[np.int64]:
    """`[N]` columns of the likeliest of the corpus's labels."""
    shifted: Float32Array = take_out(torch.from_numpy(shifts), torch.from_numpy(pooled)).numpy()
    columns: npt.NDArray[np.int64] = classify_pooled(model, shifted, label_mask(corpus.labels)).argmax(axis=1)
    return columns
