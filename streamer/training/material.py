"""What is computed once per work folder: decoded audio, and features below the layers that learn."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from streamer.audio.level import LEVEL_VERSION, normalize
from streamer.codec import Encoder
from streamer.errors import UsageError
from streamer.rates import HOP, SAMPLE_RATE
from streamer.training.augment import Augmentation, Samples, non_speech, speed
from streamer.training.corpora import Clip
from streamer.training.forward import STEM_DIMS, stem
from streamer.training.recordings import read_recording
from streamer.training.store import RaggedStore, fingerprint, fingerprint_of_weights

Floats = npt.NDArray[np.float32]
T = TypeVar("T")
Progress = Callable[[Sequence[T], str], Iterable[T]]  # goes through a sequence and shows how far it is
Log = Callable[[str], None]  # takes one line at a time

_NON_SPEECH_SAMPLES = 4 * SAMPLE_RATE
_STEM_BATCH = 8
_DECODED_AT_ONCE = 64


class AudioStore:
    """Decoded recordings, 16 bits a sample, and how long each file was that they come from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = RaggedStore(folder / "audio", 1, np.int16)
        self._sizes_path = folder / "audio-sizes.json"

    def prepare(self, clips: Sequence[Clip], progress: Progress[int]) -> None:
        """Decode what is not there yet.

        Raises:
            UsageError: a file is not the one that was decoded under its name.
            StreamerError: a recording cannot be read.
        """
        sizes: dict[str, int] = json.loads(self._sizes_path.read_text()) if self._sizes_path.is_file() else {}
        for clip in clips:
            size = clip.path.stat().st_size
            if clip.key in self._store and sizes.get(clip.key, size) != size:
                raise UsageError(
                    f"{clip.path} is not the recording that {self._folder} holds under its name; "
                    "give another --work folder, or remove this one."
                )
            sizes[clip.key] = size
        left = [clip for clip in clips if clip.key not in self._store]
        with ThreadPoolExecutor() as pool:  # the decoders run outside of Python's lock
            for first in progress(range(0, len(left), _DECODED_AT_ONCE), "decoding"):
                some = left[first : first + _DECODED_AT_ONCE]
                for clip, audio in zip(some, pool.map(lambda clip: read_recording(clip.path), some), strict=True):
                    samples = np.clip(np.round(audio * 32767), -32768, 32767)
                    self._store.append(clip.key, samples[:, None])
        partial = self._sizes_path.with_suffix(".part")
        partial.write_text(json.dumps(sizes))
        partial.replace(self._sizes_path)

    def __contains__(self, key: str) -> bool:
        return key in self._store

    def __getitem__(self, key: str) -> Samples:
        """`[T]` at 24 kHz."""
        samples: Samples = self._store[key][:, 0].astype(np.float32) / np.float32(32768)
        return samples

    def frames(self, key: str) -> int:
        """Whole frames of 320 samples in a recording, at least 1."""
        return max(1, self._store.rows(key) // HOP)


class Voices:
    """Clips as they were recorded (version 0), and spoken by somebody of another size (the others).

    A version has a name: the clip's key where it is spoken as recorded, else `key@version`.

    Args:
        audio: the recordings.
        versions: of each clip, the recorded one included.
        seed: of the paces.
        changes: how likely a version is spoken faster or slower, and by how much.
    """

    def __init__(self, audio: AudioStore, versions: int, seed: int, changes: Augmentation) -> None:
        self.audio, self.versions, self._seed, self._changes = audio, versions, seed, changes

    @property
    def identity(self) -> str:
        """What decides how a version sounds."""
        return repr((self._seed, self._changes.speed, self._changes.pace))

    def pace(self, key: str, version: int) -> float:
        """How many seconds of the recording are spoken in one second."""
        rng = generator(self._seed, version, f"{key} pace")
        return float(rng.uniform(*self._changes.pace)) if version and rng.random() < self._changes.speed else 1.0

    def name(self, key: str, version: int) -> str:
        """Under which the version's sound is known."""
        return key if self.pace(key, version) == 1.0 else f"{key}@{version}"

    def names(self, key: str) -> list[str]:
        """Of all versions that sound different, the recorded one first."""
        return list(dict.fromkeys([key, *(self.name(key, version) for version in range(1, self.versions))]))

    def spoken(self, name: str) -> Samples:
        """`[T]` at 24 kHz."""
        if name in self.audio:
            return self.audio[name]
        key, _, version = name.rpartition("@")
        return speed(self.audio[key], self.pace(key, int(version)))


def talkers_of(clips: Sequence[Clip]) -> list[str]:
    """The keys of some fifty recordings to make babble of."""
    return [clip.key for clip in clips[:: max(1, len(clips) // 50)]]


class StemStore:
    """What lies below the layers that learn, of clips (version 0 clean, the others augmented) and of sound without a voice.

    The files' names hold a digest of all that decides what is in them: weights, level law, seed and augmentations; those
    of augmented versions also of who talks behind them, so that no run hears in the babble whom it tests.

    Args:
        folder: where the files are.
        encoder: whose lower layers give the features.
        voices: the clips and their versions.
        cut: the first layer that learns, a key of STEM_DIMS.
        seed: of the augmentations.
        changes: what happens to a version on its way to the microphone.
        talkers: keys of the recordings that babble is made of.
    """

    def __init__(
        self,
        folder: Path,
        encoder: Encoder,
        voices: Voices,
        cut: int,
        seed: int,
        changes: Augmentation,
        talkers: Sequence[str],
    ) -> None:
        self.voices, self._cut, self._seed, self._changes, self._talkers = voices, cut, seed, changes, talkers
        weights = fingerprint_of_weights(
            parameter for layer in list(encoder.model)[:cut] for parameter in layer.parameters()
        )
        name, width = f"stem-{fingerprint(weights, LEVEL_VERSION, seed, changes)}", STEM_DIMS[cut]
        behind = fingerprint(*talkers)
        names = [f"{name}-0", *(f"{name}-{behind}-{version}" for version in range(1, voices.versions))]
        self.versions = [RaggedStore(folder / one, width) for one in names]
        self.non_speech = RaggedStore(folder / f"{name}-non-speech", width)

    def prepare(
        self,
        encoder: Encoder,
        learning: Sequence[Clip],
        others: Sequence[Clip],
        non_speech_clips: int,
        dtype: torch.dtype,
        progress: Progress[int],
    ) -> None:
        """Compute what is not there yet: every version of the clips to learn from, the clean one of the others."""
        keys = [clip.key for clip in learning]
        audio = self.voices.audio
        talkers = tuple(audio[key] for key in self._talkers)
        for version, store in enumerate(self.versions):
            wanted = keys if version else [*keys, *(clip.key for clip in others)]
            left = sorted((key for key in wanted if key not in store), key=audio.frames)

            def heard(key: str, version: int = version) -> Samples:
                spoken = self.voices.spoken(self.voices.name(key, version))
                return self._changes(spoken, generator(self._seed, version, key), talkers) if version else spoken

            self._fill(store, left, heard, encoder, dtype, progress, f"features {version + 1}/{len(self.versions)}")
        quiet = [f"non-speech/{number:04d}" for number in range(non_speech_clips)]
        left = [key for key in quiet if key not in self.non_speech]

        def synthesise(key: str) -> Samples:
            return non_speech(_NON_SPEECH_SAMPLES, generator(self._seed, 0, key))

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
                features = stem(encoder, torch.from_numpy(levelled[0]).to(device), dtype, self._cut)
            for key, row, frames in zip(batch, features.float().cpu().numpy(), levelled[1], strict=True):
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
