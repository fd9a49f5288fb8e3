"""How often predictions survive gain, noise, babble, a telephone line, a room and clipping."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from streamer.arrays import Samples
from streamer.audio.front_end import normalize_batch
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import Generator, babble, band_limit, clip, colored_noise, gain, generator, mix, room
from streamer.corpora.corpus import Clip, Corpus, clips_of
from streamer.corpora.splits import Split
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.labels import LABELS
from streamer.evaluation.baselines import Classify, fit_loudness, loudness_features
from streamer.progress import Progress
from streamer.training.predict import ClipBatch, ClipEncoder

Change = Callable[[Samples, Generator], Samples]
Columns = npt.NDArray[np.int64]

GAINS_DB = (-12, -6, 6, 12)
SNRS_DB = (20, 10, 5)  # of white noise, pink noise and babble
PASSBAND_HZ = (300, 3400)  # of a telephone line
ROOM_DECAY_S = 0.4
CLIPPING = 0.3  # of the peak
_BABBLE_CLIPS = 30  # test clips that babble is mixed from


def conditions(talkers: tuple[Samples, ...]) -> dict[str, Change]:
    """Return the changes by name; babble is mixed from the recordings `talkers`."""
    changes: dict[str, Change] = {}
    for gain_db in GAINS_DB:
        changes[f"gain {gain_db:+d} dB"] = partial(_gain, gain_db)
    for snr_db in SNRS_DB:
        for kind in ("white", "pink"):
            changes[f"{kind} noise {snr_db} dB"] = partial(_noise, kind, snr_db)
        changes[f"babble {snr_db} dB"] = partial(_babble, talkers, snr_db)
    low_hz, high_hz = PASSBAND_HZ
    changes[f"telephone {low_hz}-{high_hz} Hz"] = lambda audio, rng: band_limit(audio, low_hz, high_hz)
    changes[f"room {ROOM_DECAY_S:g} s"] = lambda audio, rng: room(audio, rng, ROOM_DECAY_S)
    changes[f"clipping at {CLIPPING:g} of the peak"] = lambda audio, rng: clip(audio, CLIPPING)
    return changes


def _gain(gain_db: float, audio: Samples, rng: Generator) -> Samples:
    return np.clip(gain(audio, gain_db), -1, 1)


def _noise(kind: str, snr_db: float, audio: Samples, rng: Generator) -> Samples:
    return mix(audio, colored_noise(len(audio), kind, rng), snr_db)


def _babble(talkers: tuple[Samples, ...], snr_db: float, audio: Samples, rng: Generator) -> Samples:
    return mix(audio, babble(talkers, len(audio), rng), snr_db)


@dataclass(frozen=True)
class Survival:
    """The predictions under one change."""

    unchanged: float  # share of clips whose prediction, among their corpus's labels, is the same as without the change
    accuracy: float  # of the predictions under the change
    loudness_unchanged: float  # the same share for a classifier of loudness alone; NaN where none was fitted


@dataclass(frozen=True)
class Robustness:
    """The table, over clips of all corpora."""

    clips: int
    accuracy: float  # without any change
    loudness_accuracy: float  # NaN where none was fitted
    changes: dict[str, Survival]


def measure_robustness(
    model: EmotionDetectionModel,
    audio: AudioStore,
    corpora: Sequence[Corpus],
    split: Split,
    clips: Sequence[Clip],
    seed: int,
    progress: Progress[Any],
) -> Robustness:
    """Classify whole clips under each change, beside a classifier of loudness alone.

    Args:
        model: the model to measure.
        audio: takes the recordings of training and test clips.
        corpora: their labels restrict the predictions.
        split: its training clips fit the loudness classifiers, its test clips are mixed into babble.
        clips: test clips to measure on, at least one.
        seed: of the changes.
        progress: shows the progress of a loop.
    """
    train, test = split.select(clips_of(corpora), "train"), split.select(clips_of(corpora), "test")
    audio.prepare([*test, *train], progress)
    loudness = _fit_loudness_per_corpus(audio, corpora, train)
    talkers = tuple(audio[clip.key] for clip in test[:: max(1, len(test) // _BABBLE_CLIPS)])
    encoder = ClipEncoder.from_audio(model, audio)
    targets = np.array([LABELS.index(one.label) for one in clips], dtype=np.int64)

    def predict(name: str, change: Change | None) -> tuple[Columns, Columns | None]:
        changed = _ChangedAudio(audio, change, name, seed, model.highpass_hz)
        predicted = replace(encoder, load=changed.load).predict(corpora, clips).predicted
        return predicted, _predict_from_loudness(changed, loudness, clips)

    clean, clean_loudness = predict("", None)
    changes = {}
    for name, change in progress(list(conditions(talkers).items()), "robustness"):
        predicted, from_loudness = predict(name, change)
        changes[name] = Survival(
            unchanged=float(np.mean(predicted == clean)),
            accuracy=float(np.mean(predicted == targets)),
            loudness_unchanged=_agreement(from_loudness, clean_loudness),
        )
    return Robustness(len(clips), float(np.mean(clean == targets)), _agreement(clean_loudness, targets), changes)


class _ChangedAudio:
    """Recordings under one change, identical in every call."""

    def __init__(
        self, audio: AudioStore, change: Change | None, name: str, seed: int, highpass_hz: float | None
    ) -> None:
        self._audio, self._change, self._name, self._seed = audio, change, name, seed
        self._highpass_hz = highpass_hz

    def __getitem__(self, one: Clip) -> Samples:
        recording = self._audio[one.key]
        if self._change is None:
            return recording
        return self._change(recording, generator(self._seed, 0, f"{self._name}/{one.key}"))

    def load(self, clips: Sequence[Clip]) -> ClipBatch:
        """Return level-normalised audio `[B, F x 320]`, and the frame count of each row."""
        levelled, frames = normalize_batch([self[one] for one in clips], self._highpass_hz)
        return torch.from_numpy(levelled), frames


def _fit_loudness_per_corpus(
    audio: AudioStore, corpora: Sequence[Corpus], train: Sequence[Clip]
) -> dict[str, Classify]:
    """Fit a loudness classifier for each corpus, by name; those without two labels are left out."""
    fitted = {
        corpus.name: fit_loudness(audio, [clip for clip in train if clip.corpus == corpus.name]) for corpus in corpora
    }
    return {name: classify for name, classify in fitted.items() if classify is not None}


def _predict_from_loudness(
    changed: _ChangedAudio, loudness: Mapping[str, Classify], clips: Sequence[Clip]
) -> Columns | None:
    """Return the loudness classifiers' label columns `[N]`; None where none was fitted."""
    if not loudness:
        return None
    return np.array([loudness[one.corpus](loudness_features(changed[one])[None])[0] for one in clips], dtype=np.int64)


def _agreement(some: Columns | None, others: Columns | None) -> float:
    return float("nan") if some is None or others is None else float(np.mean(some == others))
