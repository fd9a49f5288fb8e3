"""Count false alarms per hour: emotions that begin in silence, noise, music, or recordings without speech."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamer.arrays import Samples
from streamer.constants import SAMPLE_RATE
from streamer.corpora.augment import NON_SPEECH, buzz, gain, generator, rms
from streamer.corpora.corpus import SUFFIXES
from streamer.decoding.files import read_recording
from streamer.errors import UsageError
from streamer.evaluation.through_worker import ROWS, WorkerHarness
from streamer.events import EmotionStarted, Event, Window
from streamer.progress import Progress

# `buzz` is not in NON_SPEECH: training draws from those, and its draws would change.
_SOUNDS = {name: NON_SPEECH[name] for name in ("silence", "white noise", "pink noise", "hum")} | {
    "buzz": buzz,
    "music": NON_SPEECH["music"],
}
SOUNDS = tuple(_SOUNDS)
LEVELS_DBFS = (-25.0, -35.0, -50.0)  # beside the microphone, across the room, behind a door
_IN_PIECES = ("hum", "buzz", "music")  # sounds with a pitch
_PIECE_S = 16.0  # length of a piece, before the next one begins with another pitch
_STREAM_S = 120.0  # length of one stream; each warms up anew


@dataclass(frozen=True)
class FalseAlarms:
    """False alarms with one kind of sound."""

    minutes: float
    started: int  # `emotion_started` events
    per_hour: float
    at_levels: dict[str, int]  # count by level, such as "-35 dBFS"
    labels: dict[str, int]  # count by emotion
    voiced: float  # share of windows in which voice activity detection found speech
    ungated: float  # share of full windows that name an emotion where every window is classified; NaN: not measured


@dataclass(frozen=True)
class Harnesses:
    """The same checkpoint in two workers."""

    gated: WorkerHarness  # as the program runs it
    ungated: WorkerHarness | None  # that classifies every window; None: not measured


def measure_false_alarms(
    harnesses: Harnesses, minutes: float, recordings: Sequence[Path], seed: int, progress: Progress[Any]
) -> dict[str, FalseAlarms]:
    """Stream each of SOUNDS, and each of `recordings`, through the worker.

    Silence is a quiet room between -90 and -60 dBFS; the other sounds are played at LEVELS_DBFS, a third of the time
    each. The music is rendered by `streamer.corpora.augment.music`: bass, chords, melody and drums.

    Args:
        harnesses: the checkpoint in its worker, as it runs and without the voice gate.
        minutes: length of each of SOUNDS; 0 leaves them out.
        recordings: files, or folders of files, without speech; each is played once at each level.
        seed: of the rendered sounds.
        progress: shows the progress of a loop.

    Raises:
        UsageError: one of `recordings` does not exist, or holds no recording.
    """
    results = {}
    for sound in SOUNDS if minutes else ():
        levels = (None,) if sound == "silence" else LEVELS_DBFS
        streams = {
            level: [
                _at(_rendered(sound, seconds, generator(seed, number, f"{sound} {level}")), level)
                for number, seconds in enumerate(_parts(minutes * 60 / len(levels)))
            ]
            for level in levels
        }
        results[sound] = _count(harnesses, streams, progress, sound)
    for path in recordings:
        audio = [read_recording(file).samples for file in recordings_in(path)]
        streams = {level: [_at(one, level) for one in audio] for level in LEVELS_DBFS}
        name = path.stem if path.stem not in results else str(path)
        results[name] = _count(harnesses, streams, progress, name)
    return results


def _count(
    harnesses: Harnesses, streams: Mapping[float | None, Sequence[Samples]], progress: Progress[Any], sound: str
) -> FalseAlarms:
    """Stream all recordings of one sound, level by level, and count the emotions that begin."""
    played = [(level, samples) for level, some in streams.items() for samples in some]
    at_levels = {_name(level): 0 for level in streams}
    labels: dict[str, int] = {}
    windows = voiced = 0
    claims: list[bool] = []
    for first in progress(range(0, len(played), ROWS), f"playing {sound}"):
        some = played[first : first + ROWS]
        for (level, _), events in zip(some, harnesses.gated.run([samples for _, samples in some]), strict=True):
            windows += sum(isinstance(event, Window) for event in events)
            voiced += sum(isinstance(event, Window) and event.probs is not None for event in events)
            for event in events:
                if isinstance(event, EmotionStarted):
                    at_levels[_name(level)] += 1
                    labels[event.label] = labels.get(event.label, 0) + 1
        if harnesses.ungated is not None:
            claims += _claims(harnesses.ungated.run([samples for _, samples in some]))
    minutes = sum(len(samples) for _, samples in played) / SAMPLE_RATE / 60
    started = sum(at_levels.values())
    return FalseAlarms(
        minutes=minutes,
        started=started,
        per_hour=started * 60 / minutes,
        at_levels=at_levels,
        labels=labels,
        voiced=voiced / max(1, windows),
        ungated=float(np.mean(claims)) if claims else float("nan"),
    )


def _claims(events: Sequence[Sequence[Event]]) -> list[bool]:
    """Return of each full window whether it names an emotion, but for neutral and calm."""
    windows = [event for one in events for event in one if isinstance(event, Window) and not event.warming]
    return [window.label not in (None, "neutral", "calm") for window in windows]


def _parts(seconds: float) -> list[float]:
    """Split a length into equal parts of up to two minutes."""
    count = math.ceil(seconds / _STREAM_S)
    return [seconds / count] * count


def _rendered(sound: str, seconds: float, rng: np.random.Generator) -> Samples:
    """Render piece after piece, or one noise of the whole length; RMS 1, but for silence."""
    whole = round(seconds * SAMPLE_RATE)
    piece = round(_PIECE_S * SAMPLE_RATE) if sound in _IN_PIECES else whole
    samples = np.concatenate([_SOUNDS[sound](min(piece, whole - at), rng) for at in range(0, whole, piece)])
    return samples.astype(np.float32)


def _at(samples: Samples, level_dbfs: float | None) -> Samples:
    if level_dbfs is None:
        return samples
    return np.clip(gain(samples / np.float32(max(rms(samples), 1e-9)), level_dbfs), -1, 1)


def recordings_in(path: Path) -> list[Path]:
    """Return a file, or all recordings in a folder, sorted.

    Raises:
        UsageError: there is none.
    """
    found = sorted(_audio_in(path)) if path.is_dir() else [path]
    if not found or not path.exists():
        raise UsageError(f"There is no recording {path}; give a file, or a folder of files, without speech.")
    return found


def _audio_in(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)


def _name(level_dbfs: float | None) -> str:
    return "as it is" if level_dbfs is None else f"{level_dbfs:g} dBFS"
