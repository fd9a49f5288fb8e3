"""What is computed once per work folder: decoded audio, the teacher's answers, features below the LSTM."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from streamer.audio.level import normalize
from streamer.codec import Encoder
from streamer.rates import HOP, SAMPLE_RATE
from streamer.training.augment import Augmentation, Samples, non_speech
from streamer.training.corpora import Clip
from streamer.training.forward import STEM_DIM, STEM_LAYERS, stem
from streamer.training.recordings import read_recording
from streamer.training.store import RaggedStore
from streamer.training.teacher import Projection, WhisperTeacher, slow

Floats = npt.NDArray[np.float32]
T = TypeVar("T")
Progress = Callable[[Sequence[T], str], Iterable[T]]  # goes through a sequence and shows how far it is

COMPONENTS = 128  # of the teacher's features: as many as an embedding has channels
_PROJECTION_CLIPS = 600  # drawn to find the components
_NON_SPEECH_SAMPLES = 4 * SAMPLE_RATE
_STEM_BATCH = 8
_DECODED_AT_ONCE = 64


def key_of(clip: Clip) -> str:
    """A clip's name in every store."""
    return f"{clip.corpus}/{clip.path.name}"


class AudioStore:
    """Decoded recordings, 16 bits a sample."""

    def __init__(self, folder: Path) -> None:
        self._store = RaggedStore(folder / "audio", 1, np.int16)

    def prepare(self, clips: Sequence[Clip], progress: Progress[int]) -> None:
        """Decode what is not there yet."""
        left = [clip for clip in clips if key_of(clip) not in self._store]
        with ThreadPoolExecutor() as pool:  # the decoders run outside of Python's lock
            for first in progress(range(0, len(left), _DECODED_AT_ONCE), "decoding"):
                some = left[first : first + _DECODED_AT_ONCE]
                for clip, audio in zip(some, pool.map(lambda clip: read_recording(clip.path), some), strict=True):
                    samples = np.clip(np.round(audio * 32767), -32768, 32767)
                    self._store.append(key_of(clip), samples[:, None])

    def __getitem__(self, key: str) -> Samples:
        """`[T]` at 24 kHz."""
        samples: Samples = self._store[key][:, 0].astype(np.float32) / np.float32(32768)
        return samples

    def frames(self, key: str) -> int:
        """Whole frames of 320 samples in a recording, at least 1."""
        return max(1, self._store.rows(key) // HOP)


class TeacherStore:
    """What the teacher says of each clean clip: principal components of its layers, and of their mean and deviation."""

    def __init__(self, folder: Path) -> None:
        self.frames = RaggedStore(folder / "teacher-frames", COMPONENTS)  # at 50 a second
        self.utterances = RaggedStore(folder / "teacher-utterances", COMPONENTS, np.float32)  # one row a clip
        self._projection_path = folder / "teacher-projection.npz"

    def prepare(
        self, teacher: WhisperTeacher, clips: Sequence[Clip], audio: AudioStore, seed: int, progress: Progress[Clip]
    ) -> None:
        """Ask the teacher about what it was not asked yet. The first clips seen fix the components."""
        left = [clip for clip in clips if key_of(clip) not in self.utterances]
        if not left:
            return
        of_frames, of_utterances = self._projections(teacher, clips, audio, seed, progress)
        for clip in progress(left, "asking the teacher"):
            features = teacher.features(audio[key_of(clip)])
            if key_of(clip) not in self.frames:  # a run may have been cut off between the two
                self.frames.append(key_of(clip), of_frames(slow(features)))
            self.utterances.append(key_of(clip), of_utterances(_statistics(features)[None]))

    def _projections(
        self, teacher: WhisperTeacher, clips: Sequence[Clip], audio: AudioStore, seed: int, progress: Progress[Clip]
    ) -> tuple[Projection, Projection]:
        if not self._projection_path.is_file():
            drawn = np.random.default_rng(seed).permutation(len(clips))[:_PROJECTION_CLIPS]
            heard = [
                teacher.features(audio[key_of(clip)]) for clip in progress([clips[i] for i in drawn], "components")
            ]
            of_frames = Projection.fit(np.concatenate([slow(features)[::3] for features in heard]), COMPONENTS)
            of_utterances = Projection.fit(np.stack([_statistics(features) for features in heard]), COMPONENTS)
            partial = self._projection_path.with_suffix(".part.npz")
            np.savez(partial, fm=of_frames.mean, fx=of_frames.matrix, um=of_utterances.mean, ux=of_utterances.matrix)
            partial.replace(self._projection_path)
        stored = np.load(self._projection_path)
        return Projection(stored["fm"], stored["fx"]), Projection(stored["um"], stored["ux"])


class StemStore:
    """Features below the LSTM, of clips (version 0 clean, the others augmented) and of sound without a voice.

    They belong to one set of weights: the file's name holds a digest of them.
    """

    def __init__(self, folder: Path, encoder: Encoder, versions: int) -> None:
        digest = hashlib.sha256()
        for layer in list(encoder.model)[:STEM_LAYERS]:
            for parameter in layer.parameters():
                digest.update(parameter.detach().cpu().float().numpy().tobytes())
        name = f"stem-{digest.hexdigest()[:12]}"
        self.versions = [RaggedStore(folder / f"{name}-{version}", STEM_DIM) for version in range(versions)]
        self.non_speech = RaggedStore(folder / f"{name}-non-speech", STEM_DIM)

    def prepare(
        self,
        encoder: Encoder,
        clips: Sequence[Clip],
        audio: AudioStore,
        augmentation: Augmentation,
        non_speech_clips: int,
        seed: int,
        dtype: torch.dtype,
        progress: Progress[int],
    ) -> None:
        """Compute what is not there yet."""
        keys = [key_of(clip) for clip in clips]
        voices = tuple(audio[key] for key in keys[:: max(1, len(keys) // 50)])
        for version, store in enumerate(self.versions):
            left = sorted((key for key in keys if key not in store), key=audio.frames)

            def heard(key: str, version: int = version) -> Samples:
                if version == 0:
                    return audio[key]
                return augmentation(audio[key], generator(seed, version, key), voices)

            self._fill(store, left, heard, encoder, dtype, progress, f"features {version + 1}/{len(self.versions)}")
        quiet = [f"non-speech/{number:04d}" for number in range(non_speech_clips)]
        left = [key for key in quiet if key not in self.non_speech]

        def synthesise(key: str) -> Samples:
            return non_speech(_NON_SPEECH_SAMPLES, generator(seed, 0, key))

        self._fill(self.non_speech, left, synthesise, encoder, dtype, progress, "features of noise and music")

    def _fill(
        self,
        store: RaggedStore,
        keys: Sequence[str],
        heard: Callable[[str], Samples],
        encoder: Encoder,
        dtype: torch.dtype,
        progress: Progress[int],
        what: str,
    ) -> None:
        device = next(encoder.parameters()).device
        for first in progress(range(0, len(keys), _STEM_BATCH), what):
            batch = keys[first : first + _STEM_BATCH]
            levelled = level([heard(key) for key in batch])
            with torch.no_grad():
                features = stem(encoder, torch.from_numpy(levelled[0]).to(device), dtype).float().cpu().numpy()
            for key, row, frames in zip(batch, features, levelled[1], strict=True):
                store.append(key, row[:frames])


def level(recordings: Sequence[Samples]) -> tuple[Floats, list[int]]:
    """Recordings through the level normaliser, each as a stream of its own: `[B, T]`, T whole hops, and frames of each.

    Rows are filled up with zeros, and a recording shorter than a frame is one frame.
    """
    frames = [max(1, len(audio) // HOP) for audio in recordings]
    padded = np.zeros((len(recordings), max(frames) * HOP), dtype=np.float32)
    for row, audio, count in zip(padded, recordings, frames, strict=True):
        kept = audio[: count * HOP]
        row[: len(kept)] = kept
    return normalize(padded), frames


def generator(seed: int, version: int, key: str) -> np.random.Generator:
    """Draws that depend on the seed, the version and the clip alone."""
    digest = hashlib.sha256(f"{seed}/{version}/{key}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _statistics(features: Floats) -> Floats:
    """`[F, D]` to mean and standard deviation over frames, `[2D]`."""
    return np.concatenate([features.mean(axis=0), features.std(axis=0)])
