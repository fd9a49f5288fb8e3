"""The table of whole clips: what checkpoints are given of every clip, and how good the answers are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamer.audio.level import LEVEL_VERSION
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import Calibration
from streamer.emotion.pooling import POOLED_DIM
from streamer.training.calibration import probabilities
from streamer.training.corpora import Clip, Corpus
from streamer.training.folds import Folds, Protocol, joined, refit_probabilities, speakers_of
from streamer.training.losses import label_mask
from streamer.training.material import AudioStore, Progress
from streamer.training.metrics import Measures, measure
from streamer.training.predict import classified, encoded_by, load_audio, pooled_vectors
from streamer.training.store import RaggedStore, fingerprint

Floats = npt.NDArray[np.float32]

_PART = 64  # clips that are heard between two moves of the progress bar


def hear(
    model: EmotionDetectionModel,
    audio: AudioStore,
    corpus: Corpus,
    clips: Sequence[Clip],
    work: Path,
    progress: Progress[Any],
) -> dict[Clip, Floats]:
    """What the classifier is given of each whole clip, `[640]`; what this or an earlier evaluation heard is kept in `work`.

    Clips of like length are heard together.
    """
    device = next(model.parameters()).device.type
    heard = RaggedStore(work / f"heard-{fingerprint(model.sha256, LEVEL_VERSION, device)}", POOLED_DIM, np.float32)
    left = sorted((clip for clip in clips if clip.key not in heard), key=lambda clip: audio.frames(clip.key))
    to_frames, load = encoded_by(model), load_audio(audio)
    for part in progress([left[at : at + _PART] for at in range(0, len(left), _PART)], f"hearing {corpus.name}"):
        for clip, vector in zip(part, pooled_vectors(model, to_frames, load, part)[0], strict=True):
            heard.append(clip.key, vector[None])
    return {clip: np.array(heard[clip.key][0]) for clip in clips}


def whole_clips(
    model: EmotionDetectionModel,
    corpus: Corpus,
    of_each: Sequence[Folds],
    heard: Sequence[Mapping[Clip, Floats]],
    calibration: Calibration,
    protocol: Protocol,
    seed: int,
) -> Measures:
    """The table of whole clips: by the checkpoint's classifier, or by one fitted in every fold of each checkpoint."""
    folds = joined(of_each)
    tested = [folds.clips[row] for row in folds.tested]
    if protocol == "holdout":
        logits = classified(model, np.stack([heard[0][clip] for clip in tested]), label_mask(corpus.labels))
        probs = probabilities(logits, calibration.temperature)
    else:  # rows of no fold's test are zeros, and every row is tested once
        fitted = [
            refit_probabilities(np.stack([whole[clip] for clip in own.clips]), own)
            for own, whole in zip(of_each, heard, strict=True)
        ]
        probs = np.sum(fitted, axis=0)[folds.tested]
    answers = folds.answers[folds.tested]
    return measure(probs, answers, speakers_of(tested), corpus.labels, calibration.threshold, seed)
