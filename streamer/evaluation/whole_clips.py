"""Score whole clips of a corpus: pool each clip once, then classify the pooled vectors under a protocol."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamer.arrays import Float32Array
from streamer.audio.front_end import front_end_identity
from streamer.constants import POOLED_DIM
from streamer.corpora.array_store import RaggedStore, fingerprint
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip, Corpus
from streamer.decoding.files import READER_VERSION
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import Calibration
from streamer.evaluation.cross_validation import Folds, merge_folds, refit_probabilities
from streamer.evaluation.protocol import Protocol
from streamer.progress import Progress
from streamer.training.losses import label_mask
from streamer.training.metrics import Measures, measure
from streamer.training.predict import ClipEncoder, classify_pooled
from streamer.training.temperature import probabilities

_PART = 64  # clips encoded between two moves of the progress bar


def pool_clips(
    model: EmotionDetectionModel,
    audio: AudioStore,
    corpus: Corpus,
    clips: Sequence[Clip],
    work: Path,
    progress: Progress[Any],
) -> dict[Clip, Float32Array]:
    """Return the pooled vector `[640]` of each whole clip; vectors from an earlier call are read from `work`.

    Clips of similar length are encoded together.
    """
    device = next(model.parameters()).device.type
    front_end = front_end_identity(model.highpass_hz)  # a head keeps its digest when its card is replaced
    name = f"heard-{fingerprint(model.sha256, *front_end, READER_VERSION, device)}"
    store = RaggedStore(work / name, POOLED_DIM, np.float32)
    left = sorted((clip for clip in clips if clip.key not in store), key=lambda clip: audio.frames(clip.key))
    encoder = ClipEncoder.from_audio(model, audio)
    for part in progress([left[at : at + _PART] for at in range(0, len(left), _PART)], f"encoding {corpus.name}"):
        for clip, vector in zip(part, encoder.pooled(part), strict=True):
            store.append(clip.key, vector[None])
    return {clip: np.array(store[clip.key][0]) for clip in clips}


def score_clips(
    model: EmotionDetectionModel,
    corpus: Corpus,
    per_checkpoint: Sequence[Folds],
    pooled: Sequence[Mapping[Clip, Float32Array]],
    calibration: Calibration,
    protocol: Protocol,
    seed: int,
) -> Measures:
    """Return the figures of the tested whole clips.

    Args:
        model: the checkpoint; under `holdout` its classifier predicts.
        corpus: predictions are among its labels.
        per_checkpoint: the folds of each checkpoint.
        pooled: the pooled vectors `[640]` of each checkpoint.
        calibration: temperature (under `holdout`) and threshold.
        protocol: under `kfold` and `loso` a classifier is refitted in every fold of each checkpoint.
        seed: of the bootstrap interval.
    """
    folds = merge_folds(per_checkpoint)
    tested = [folds.clips[row] for row in folds.tested]
    if protocol == "holdout":
        vectors = np.stack([pooled[0][clip] for clip in tested])  # [N, 640]
        probs = probabilities(classify_pooled(model, vectors, label_mask(corpus.labels)), calibration.temperature)
    else:  # a row outside a checkpoint's folds is zeros, and every row is tested once
        fitted = [
            refit_probabilities(np.stack([vectors[clip] for clip in own.clips]), own)
            for own, vectors in zip(per_checkpoint, pooled, strict=True)
        ]
        probs = np.sum(fitted, axis=0)[folds.tested]  # [N, 8]
    targets = folds.targets[folds.tested]
    speakers = [clip.speaker for clip in tested]
    return measure(probs, targets, speakers, corpus.labels, calibration.threshold, seed)
