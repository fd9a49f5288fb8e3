"""Count the onsets of faint speech that a resting stream misses, or finds later than one that never rests.

    python -m tests.pipeline.study_of_waking SPEECH_FOLDER PLACES_FOLDER --clips 40

Each clip of SPEECH_FOLDER becomes a stream of its own: 12 s of noise, the clip in it at a signal-to-noise ratio (of the
clip's active speech to the noise), 3 s of noise. The noise is white, or joined from recordings of places. Both runs get
the same samples; compared are the first window with probabilities, and the windows after it.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

from streamer.constants import SAMPLE_RATE
from streamer.emotion.model import EmotionDetectionModel
from streamer.pipeline.inference import Inference
from streamer.pipeline.windows import InferenceSettings, WindowResult

HOP = 18 * 320
BEFORE_S, AFTER_S, LONGEST_S = 12, 3, 8
SNRS_DB = (0, 5, 10)


@dataclass
class Count:
    """What happened to the onsets of one condition."""

    onsets: int = 0  # found by the stream that never rests
    asleep: int = 0  # of them, where the voice detector slept when the clip began
    missed: int = 0  # no window with probabilities
    late: int = 0  # the first one came a window later or more
    early: int = 0
    windows: int = 0  # with probabilities in either
    only_one: int = 0  # with probabilities in one of the two
    labels: int = 0  # of the others, with another label
    differences: list[float] = field(default_factory=list)


def read(path: Path) -> np.ndarray:
    audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono = audio.mean(axis=1)
    return mono if rate_hz == SAMPLE_RATE else soxr.resample(mono, rate_hz, SAMPLE_RATE)


def active_rms(audio: np.ndarray) -> float:
    """Return the RMS of the frames of 20 ms within 20 dB of the loudest."""
    powers = (audio[: len(audio) // 480 * 480].reshape(-1, 480) ** 2).mean(axis=1)
    return float(np.sqrt(powers[powers > powers.max() / 100].mean()))


def places(folder: Path, rng: np.random.Generator) -> np.ndarray:
    """Join recordings of places, each at an RMS of 1, faded into each other over 50 ms."""
    fade = SAMPLE_RATE // 20
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    joined = np.zeros(fade, np.float32)
    for path in rng.permutation(sorted(folder.rglob("*.opus")))[:40]:
        audio = read(path)
        if len(audio) > 4 * fade and (rms := float(np.sqrt((audio**2).mean()))) > 1e-5:
            audio = audio / rms
            audio[:fade] = audio[:fade] * ramp + joined[-fade:] * ramp[::-1]
            joined = np.concatenate([joined[:-fade], audio])
    return joined


def windows_of(model: EmotionDetectionModel, audio: np.ndarray, *, rest: bool) -> tuple[list[WindowResult], bool]:
    """Return the windows, and whether the voice detector slept when the clip began."""
    it = Inference(model, 1, InferenceSettings(225, 18, min_speech=0.3, rest=rest))
    found, asleep = [], False
    for begin in range(0, len(audio) - HOP + 1, HOP):
        if begin <= BEFORE_S * SAMPLE_RATE:
            asleep = it._rows[0].rest.asleep
        found += it.step({0: audio[begin : begin + HOP]})
    return found, asleep


def compare(count: Count, resting: list[WindowResult], never: list[WindowResult], asleep: bool) -> None:
    onset = BEFORE_S * SAMPLE_RATE
    mine = {w.end: w.probs for w in resting if w.end > onset and w.probs is not None}
    theirs = {w.end: w.probs for w in never if w.end > onset and w.probs is not None}
    if theirs:
        count.onsets += 1
        count.asleep += asleep
        count.missed += not mine
        count.late += bool(mine) and min(mine) > min(theirs)
        count.early += bool(mine) and min(mine) < min(theirs)
    count.windows += len(mine.keys() | theirs.keys())
    count.only_one += len(mine.keys() ^ theirs.keys())
    for end in mine.keys() & theirs.keys():
        count.labels += int(np.argmax(mine[end])) != int(np.argmax(theirs[end]))
        count.differences.append(float(np.abs(np.subtract(mine[end], theirs[end])).max()))


def conditions(arguments: argparse.Namespace, rng: np.random.Generator) -> Iterator[tuple[str, float, np.ndarray]]:
    joined = places(arguments.places, rng)
    white = rng.standard_normal(60 * SAMPLE_RATE).astype(np.float32)
    yield "white", -60, white
    yield "places", -60, joined
    yield "white", -50, white


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("places", type=Path)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--snr", type=float, nargs="*", default=SNRS_DB)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    model = EmotionDetectionModel.from_checkpoint("bundled", 3.0)
    paths = [Path(p) for p in rng.permutation(sorted(map(str, arguments.speech.rglob("*.opus"))))[: arguments.clips]]
    clips = [read(path)[: LONGEST_S * SAMPLE_RATE] for path in paths]
    for name, level_db, noise in conditions(arguments, rng):
        rms = 10 ** (level_db / 20)
        for snr_db in arguments.snr:
            count = Count()
            for number, clip in enumerate(clips):
                length = BEFORE_S * SAMPLE_RATE + len(clip) + AFTER_S * SAMPLE_RATE
                audio = rms * np.take(noise, np.arange(length) + number * 3 * SAMPLE_RATE, mode="wrap")
                audio[BEFORE_S * SAMPLE_RATE :][: len(clip)] += clip * (rms * 10 ** (snr_db / 20) / active_rms(clip))
                audio = audio.astype(np.float32)
                resting, asleep = windows_of(model, audio, rest=True)
                compare(count, resting, windows_of(model, audio, rest=False)[0], asleep)
            figures = {k: v for k, v in vars(count).items() if k != "differences"}
            p99 = float(np.quantile(count.differences, 0.99)) if count.differences else None
            print(
                json.dumps({"noise": name, "level_db": level_db, "snr_db": snr_db, **figures, "p99": p99}), flush=True
            )


if __name__ == "__main__":
    main()
