"""Encode training streams once, and keep their frames: whole speakers, joined, in several recording conditions.

Version 0 is as recorded, apart from the joining; every further one is played at another pace, with the pitch and the
formants of another voice, and recorded in another condition.
"""

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from streamer.arrays import Float32Array, Samples
from streamer.audio.front_end import front_end_identity, normalize
from streamer.codec import StreamingEncoder
from streamer.codec.cpu.pack import supported
from streamer.constants import EMBEDDING_DIM, FRAME_SAMPLES, SAMPLE_RATE
from streamer.corpora.array_store import RaggedStore, fingerprint, fingerprint_of_weights
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import babble_keys, generator, non_speech, speed
from streamer.corpora.conditions import recorded_otherwise
from streamer.corpora.corpus import Clip
from streamer.corpora.streams import JoinedStream, Stretch, Turn, evaluation_turns, join_clips, training_turns, trim
from streamer.decoding.files import READER_VERSION
from streamer.emotion import EmotionDetectionModel
from streamer.progress import Progress
from streamer.training.threads import map_in_threads, workers

_CALIBRATION = "calibration/"  # begins the keys of such streams
_OF_A_SPEAKER = 3  # such streams
NON_SPEECH = ""  # the label of what is no speech
_CLIPS = 90  # of one speaker in a stream, at most about twice as many
_ROWS = 8  # streams encoded at once
_STEP_SAMPLES = 4 * 18 * FRAME_SAMPLES  # four hops of the monitor: 23,040
_PACE = (0.85, 1.2)  # seconds of the recording in a second of a further version
_RENDERED_S = 60.0  # of each sound without speech


@dataclass(frozen=True)
class Material:
    """What training streams are made of."""

    emotional: Sequence[Clip]  # clips with labels, of any speakers
    natural: Sequence[Sequence[Clip]]  # recordings of natural speech, each group a stream: taken for neutral
    non_speech: Sequence[Sequence[Clip]]  # recordings without speech, each group a stream
    talkers: Sequence[Clip]  # babble noise is mixed from some of these
    calibrating: Sequence[Clip]  # clips of the speakers that calibrate


@dataclass(frozen=True)
class StreamLabels:
    """What is said when in one stream."""

    speaker_id: str
    stretches: tuple[Stretch, ...]
    voiced: tuple[tuple[int, int], ...]


class StreamFrames:
    """Frames `[F, 128]` of training streams by key, and their labels, in a work folder.

    Args:
        folder: where they are kept; an interrupted run goes on from it.
        model: its high-pass and its encoder are used.
        audio: the recordings.
        seed: of all draws.
    """

    def __init__(self, folder: Path, model: EmotionDetectionModel, audio: AudioStore, seed: int) -> None:
        self._highpass_hz, self._audio, self._seed = model.highpass_hz, audio, seed
        encoder = copy.deepcopy(model.encoder)
        if model.encoder.precision == "float32" and supported("bfloat16"):
            encoder.precision = "bfloat16"  # in half the time; a head cannot tell
        self._encoder = encoder
        weights, front_end = fingerprint_of_weights(encoder.parameters()), front_end_identity(model.highpass_hz)
        name = f"streams-{fingerprint(weights, encoder.precision, *front_end, READER_VERSION, seed)}"
        self._frames = RaggedStore(folder / name, EMBEDDING_DIM, np.float16)
        self._labels_path = folder / f"{name}.jsonl"
        self._labels: dict[str, StreamLabels] = dict(_read_labels(self._labels_path))

    def __iter__(self) -> Iterator[tuple[str, Float32Array, StreamLabels]]:
        """Yield key, frames and labels of every stream."""
        for key, labels in self._labels.items():
            if key in self._frames:
                yield key, np.asarray(self._frames[key], dtype=np.float32), labels

    def prepare(self, material: Material, versions: int, rendered: int, progress: Progress[Any]) -> None:
        """Build and encode what is not there yet.

        Args:
            material: of the streams.
            versions: of each stream, 1 or more.
            rendered: streams of rendered sounds without speech.
            progress: shows the progress of the loop.
        """
        talkers = [self._audio[key] for key in babble_keys(material.talkers)]
        plans = [plan for version in range(versions) for plan in _plans(material, version, self._seed)]
        plans += _calibration_plans(material.calibrating)
        plans += [_Plan(f"rendered/{number}", NON_SPEECH, 0, ()) for number in range(rendered)]
        left = sorted((plan for plan in plans if plan.key not in self._frames), key=lambda plan: -len(plan.clips))
        groups = [left[first : first + _ROWS] for first in range(0, len(left), _ROWS)]
        encoders = [StreamingEncoder(copy.deepcopy(self._encoder), _ROWS) for _ in range(min(workers(), len(groups)))]

        def encoded(work: tuple[StreamingEncoder, Sequence[_Plan]]) -> list[tuple[_Plan, Float32Array, StreamLabels]]:
            built = [(plan, *self._build(plan, talkers)) for plan in work[1]]
            frames = _encode(work[0], normalize(_padded([samples for _, samples, _ in built]), self._highpass_hz))
            return [
                (plan, of_stream[: max(1, len(samples) // FRAME_SAMPLES)], labels)
                for (plan, samples, labels), of_stream in zip(built, frames, strict=False)  # the last rows may be empty
            ]

        for first in progress(range(0, len(groups), max(1, len(encoders))), "encoding streams"):
            some = list(zip(encoders, groups[first : first + len(encoders)], strict=False))
            for plan, of_stream, labels in chain.from_iterable(map_in_threads(encoded, some)):
                self._append(plan.key, of_stream, labels)

    def _build(self, plan: "_Plan", talkers: Sequence[Samples]) -> tuple[Samples, StreamLabels]:
        rng = generator(self._seed, plan.version, plan.key)
        if not plan.clips:
            samples = non_speech(round(_RENDERED_S * SAMPLE_RATE), rng)
            return samples, StreamLabels(plan.key, (Stretch(NON_SPEECH, 0, len(samples)),), ())
        pace = float(rng.uniform(*_PACE)) if plan.version else 1.0
        audio = {clip.key: self._audio[clip.key] for clip in plan.clips}
        stream = _join(plan, {key: speed(one, pace) for key, one in audio.items()} if plan.version else audio, rng)
        samples = recorded_otherwise(stream.samples, rng, talkers) if plan.version else stream.samples
        return samples, StreamLabels(plan.speaker_id, stream.stretches, stream.voiced)

    def _append(self, key: str, frames: Float32Array, labels: StreamLabels) -> None:
        with self._labels_path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"key": key} | asdict(labels)) + "\n")
        self._labels[key] = labels
        self._frames.append(key, frames)


def _padded(recordings: Sequence[Samples]) -> Float32Array:
    """Return recordings of different lengths as `[_ROWS, T]`, T whole steps, with zeros behind them."""
    longest = max(map(len, recordings))
    padded = np.zeros((_ROWS, -(-longest // _STEP_SAMPLES) * _STEP_SAMPLES), dtype=np.float32)
    for row, samples in zip(padded, recordings, strict=False):
        row[: len(samples)] = samples
    return padded


def _encode(encoder: StreamingEncoder, levelled: Float32Array) -> Float32Array:
    """Encode streams `[B, T]` from their begin on: `[B, F, 128]`."""
    encoder.reset()
    with torch.inference_mode():
        steps = torch.split(torch.from_numpy(levelled)[:, None], _STEP_SAMPLES, dim=-1)  # each [B, 1, _STEP_SAMPLES]
        frames = [encoder.step(step).half() for step in steps]
        whole: Float32Array = torch.cat([*frames, encoder.flush().half()], dim=-1).transpose(1, 2).numpy()
    return whole


def is_calibrating(key: str) -> bool:
    """Return whether the stream of that key was made for calibration, like those that checkpoints are evaluated on."""
    return key.startswith(_CALIBRATION)


def is_as_recorded(key: str) -> bool:
    """Return whether the stream of that key is its clips as they were recorded, apart from the joining."""
    return is_calibrating(key) or key.endswith("/0")


@dataclass(frozen=True)
class _Plan:
    """One stream to be built."""

    key: str
    speaker_id: str
    version: int
    clips: tuple[Clip, ...]
    kind: str = "emotional"


def _plans(material: Material, version: int, seed: int) -> Iterator[_Plan]:
    for speaker, clips in sorted(_by_speaker(material.emotional).items()):
        parts = max(1, len(clips) // _CLIPS)
        order = generator(seed, version, speaker).permutation(len(clips))
        for part in range(parts):
            chosen = tuple(clips[place] for place in sorted(order[part::parts]))
            yield _Plan(f"{speaker}#{part}/{version}", speaker, version, chosen)
    for kind, groups in (("natural", material.natural), ("non-speech", material.non_speech)):
        for group in groups:
            yield _Plan(f"{kind}/{group[0].key}/{version}", group[0].speaker_id, version, tuple(group), kind)


def _calibration_plans(clips: Sequence[Clip]) -> Iterator[_Plan]:
    for speaker, own in sorted(_by_speaker(clips).items()):
        for number in range(_OF_A_SPEAKER):
            yield _Plan(f"{_CALIBRATION}{speaker}@{number}", speaker, 0, tuple(own), "calibration")


def _by_speaker(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    by_speaker: dict[str, list[Clip]] = {}
    for clip in clips:
        by_speaker.setdefault(clip.speaker_id, []).append(clip)
    return by_speaker


def _join(plan: _Plan, audio: dict[str, Samples], rng: np.random.Generator) -> JoinedStream:
    """Join the clips of a plan; recordings of natural speech and of no speech follow each other as they are."""
    if plan.kind == "emotional":
        return join_clips(plan.clips, audio, training_turns(plan.clips, rng), rng)
    if plan.kind == "calibration":
        labels = sorted({clip.label for clip in plan.clips})
        return join_clips(plan.clips, audio, evaluation_turns(labels, rng), rng)
    if plan.kind == "natural" and len(plan.clips) > 1:
        seconds = sum(len(trim(one)) for one in audio.values()) / SAMPLE_RATE
        return join_clips(plan.clips, audio, [Turn("neutral", seconds)], rng)
    samples = np.concatenate([audio[clip.key] for clip in plan.clips])
    label = "neutral" if plan.kind == "natural" else NON_SPEECH
    return JoinedStream(plan.speaker_id, samples, (Stretch(label, 0, len(samples)),), ((0, len(samples)),))


def _read_labels(path: Path) -> Iterator[tuple[str, StreamLabels]]:
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        stretches = tuple(Stretch(**one) for one in values["stretches"])
        yield values["key"], StreamLabels(values["speaker_id"], stretches, tuple(map(tuple, values["voiced"])))
