"""How often an answer survives what rooms, microphones and telephones do to a voice."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from streamer.emotion import EmotionDetectionModel
from streamer.training.augment import (
    Generator,
    Samples,
    babble,
    band_limit,
    clip,
    colored_noise,
    gain,
    mix,
    room,
)
from streamer.training.corpora import Clip, Corpus
from streamer.training.material import AudioStore, generator, key_of, level
from streamer.training.predict import Inputs, encoded_by, predict

Change = Callable[[Samples, Generator], Samples]


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


def unchanged_answers(
    model: EmotionDetectionModel,
    audio: AudioStore,
    corpora: Sequence[Corpus],
    clips: Sequence[Clip],
    voices: tuple[Samples, ...],
    seed: int,
) -> dict[str, float]:
    """Share of clips whose answer, among their corpus's labels, is the same before and after each change."""
    clean = predict(model, encoded_by(model), _load(audio, None, "", seed), corpora, clips)[0].guesses
    shares = {}
    for name, change in conditions(voices).items():
        changed = predict(model, encoded_by(model), _load(audio, change, name, seed), corpora, clips)[0].guesses
        shares[name] = float(np.mean(changed == clean))
    return shares


def _load(audio: AudioStore, change: Change | None, name: str, seed: int) -> Callable[[Sequence[Clip]], Inputs]:
    def load(clips: Sequence[Clip]) -> Inputs:
        recordings = [audio[key_of(one)] for one in clips]
        if change is not None:
            recordings = [
                change(recording, generator(seed, 0, f"{name}/{key_of(one)}"))
                for one, recording in zip(clips, recordings, strict=True)
            ]
        levelled, frames = level(recordings)
        return torch.from_numpy(levelled), frames

    return load
