"""How often an answer survives what rooms, microphones and telephones do to a voice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from streamer.arrays import Samples
from streamer.audio.level import normalize_batch
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import Generator, babble, band_limit, clip, colored_noise, gain, generator, mix, room
from streamer.corpora.corpus import Clip, Corpus
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.labels import LABELS
from streamer.evaluation.baselines import Classify, loudness_features
from streamer.progress import Progress
from streamer.training.predict import ClipBatch, ClipEncoder

Change = Callable[[Samples, Generator], Samples]
Columns = npt.NDArray[np.int64]


def conditions(voices: tuple[Samples, ...]) -> dict[str, Change]:
    """What is done to clips, by name; babble is made of `voices`."""
    changes: dict[str, Change] = {}
    for gain_db in (-12, -6, 6, 12):
        changes[f"gain {gain_db:+d} dB"] = partial(_gain, gain_db)
    for snr_db in (20, 10, 5):
        for kind in ("white", "pink"):
            changes[f"{kind} noise {snr_db} dB"] = partial(_noise, kind, snr_db)
        changes[f"babble {snr_db} dB"] = partial(_babble, voices, snr_db)
    changes["telephone 300-3400 Hz"] = lambda audio, rng: band_limit(audio, 300, 3400)
    changes["room 0.4 s"] = lambda audio, rng: room(audio, rng, 0.4)
    changes["clipping at 0.3 of the peak"] = lambda audio, rng: clip(audio, 0.3)
    return changes


def _gain(gain_db: float, audio: Samples, rng: Generator) -> Samples:
    return np.clip(gain(audio, gain_db), -1, 1)


def _noise(kind: str, snr_db: float, audio: Samples, rng: Generator) -> Samples:
    return mix(audio, colored_noise(len(audio), kind, rng), snr_db)


def _babble(voices: tuple[Samples, ...], snr_db: float, audio: Samples, rng: Generator) -> Samples:
    return mix(audio, babble(voices, len(audio), rng), snr_db)


@dataclass(frozen=True)
class Survival:
    """What is left of answers under one change."""

    unchanged: float  # share of clips whose answer, among their corpus's labels, is the same as without the change
    accuracy: float  # of the answers under the change
    loudness_unchanged: float  # the same share for a classifier that hears the level alone; NaN where none was fitted


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
    clips: Sequence[Clip],
    voices: tuple[Samples, ...],
    loudness: Mapping[str, Classify],
    seed: int,
    progress: Progress[Any],
) -> Robustness:
    """What becomes of answers about whole clips under each change.

    Args:
        model: what is asked.
        audio: the clips' recordings.
        corpora: tell which labels a clip can have.
        clips: at least one.
        voices: what babble is made of.
        loudness: for each corpus a classifier of `peers.loudness_features`; may be empty.
        seed: of every draw.
        progress: shows how far it is.
    """
    answers = np.array([LABELS.index(one.label) for one in clips], dtype=np.int64)

    encoder = ClipEncoder.from_audio(model, audio)

    def ask(name: str, change: Change | None) -> tuple[Columns, Columns | None]:
        changed = _Changed(audio, change, name, seed)
        said = replace(encoder, load=changed.load).predict(corpora, clips).predicted
        if not loudness:
            return said, None
        levels = [loudness[one.corpus](loudness_features(changed(one))[None])[0] for one in clips]
        return said, np.array(levels, dtype=np.int64)

    clean, clean_loudness = ask("", None)
    changes = {}
    for name, change in progress(list(conditions(voices).items()), "robustness"):
        said, said_loudness = ask(name, change)
        changes[name] = Survival(
            unchanged=float(np.mean(said == clean)),
            accuracy=float(np.mean(said == answers)),
            loudness_unchanged=_agreement(said_loudness, clean_loudness),
        )
    return Robustness(len(clips), float(np.mean(clean == answers)), _agreement(clean_loudness, answers), changes)


class _Changed:
    """Recordings under one change, the same at every asking."""

    def __init__(self, audio: AudioStore, change: Change | None, name: str, seed: int) -> None:
        self._audio, self._change, self._name, self._seed = audio, change, name, seed

    def __call__(self, one: Clip) -> Samples:
        recording = self._audio[one.key]
        if self._change is None:
            return recording
        return self._change(recording, generator(self._seed, 0, f"{self._name}/{one.key}"))

    def load(self, clips: Sequence[Clip]) -> ClipBatch:
        """Levelled audio `[B, F x 320]`, and the frames of each."""
        levelled, frames = normalize_batch([self(one) for one in clips])
        return torch.from_numpy(levelled), frames


def _agreement(some: Columns | None, others: Columns | None) -> float:
    return float("nan") if some is None or others is None else float(np.mean(some == others))
