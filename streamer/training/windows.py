"""Cut windows from clips: out of augmented audio, or out of cached features (stems)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streamer.arrays import Float32Array
from streamer.audio.front_end import normalize_batch
from streamer.constants import FRAME_RATE, FRAME_SAMPLES
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import Augmentation, non_speech, speed
from streamer.training.stems import StemStore, as_tensor

NON_SPEECH = ""  # the key of a non-speech sound: noise, music, silence


@dataclass(frozen=True)
class Cut:
    """One window of one clip."""

    rows: npt.NDArray[Any]  # [F x 320] audio before the level normaliser, or [F, D] cached features as stored
    name: str  # of the speed version that the teacher's targets are of
    start_s: float  # where the window begins in that version
    pace: float  # seconds of that version in a second of the window
    stretch: float = 1.0  # seconds of the recording in a second of that version


class WindowSource(Protocol):
    """Cuts windows from clips."""

    def cut(self, key: str, frames: int, rng: np.random.Generator) -> Cut:
        """Cut a window of up to `frames` frames from a random place of the clip, or of a NON_SPEECH sound."""

    def collate(self, rows: Sequence[Float32Array]) -> tuple[Tensor, list[int]]:
        """Pad the rows of several cuts to one tensor; return it and the frame count of each row."""


class AudioWindows:
    """Windows of recordings, augmented anew at every draw, then levelled as a stream that begins with the window.

    Args:
        audio: the recordings.
        augmentation: applied to every window.
        babble: keys of the recordings that babble noise is mixed from.
        highpass_hz: of the model that is trained; None: it has no high-pass.
    """

    def __init__(
        self, audio: AudioStore, augmentation: Augmentation, babble: Sequence[str], highpass_hz: float | None
    ) -> None:
        self.audio, self.augmentation, self._highpass_hz = audio, augmentation, highpass_hz
        self._babble = tuple(audio[key] for key in babble)

    def cut(self, key: str, frames: int, rng: np.random.Generator) -> Cut:
        """See `WindowSource.cut`."""
        if key == NON_SPEECH:
            return Cut(non_speech(frames * FRAME_SAMPLES, rng), key, 0.0, 1.0)
        # The teacher's targets are of the recording as it is, so the pace stays near 1.
        pace = float(rng.uniform(0.9, 1.1)) if rng.random() < self.augmentation.speed else 1.0
        wanted = min(int(frames * pace), self.audio.frames(key))
        first = int(rng.integers(self.audio.frames(key) - wanted + 1))
        window = self.audio[key][first * FRAME_SAMPLES : (first + wanted) * FRAME_SAMPLES]
        if pace != 1.0:
            window = speed(window, pace)
        window = self.augmentation(window[: frames * FRAME_SAMPLES], rng, self._babble)
        return Cut(window, key, first / FRAME_RATE, pace)

    def collate(self, rows: Sequence[Float32Array]) -> tuple[Tensor, list[int]]:
        """See `WindowSource.collate`: `[B, F x 320]`."""
        audio, frames = normalize_batch(rows, self._highpass_hz)
        return torch.from_numpy(audio), frames


class StemWindows:
    """Windows of cached features, of one of a clip's stored versions.

    Args:
        store: the features; another run may have added to it.
        noises: how many of its non-speech sounds are drawn from.
        step: 2 leaves out the versions that are levelled as in a stream.
    """

    def __init__(self, store: StemStore, noises: int, step: int = 1) -> None:
        self.store, self._step = store, step
        self._non_speech = list(store.non_speech)[:noises]

    def cut(self, key: str, frames: int, rng: np.random.Generator) -> Cut:
        """See `WindowSource.cut`."""
        name, stretch = key, 1.0
        if key == NON_SPEECH:
            features = self.store.non_speech[self._non_speech[rng.integers(len(self._non_speech))]]
        else:
            version = self._step * int(rng.integers(-(-len(self.store.versions) // self._step)))
            features = self.store.versions[version][key]
            name, stretch = self.store.speeds.name(key, version), self.store.speeds.pace(key, version)
        first = int(rng.integers(max(1, len(features) - frames + 1)))
        return Cut(features[first : first + frames], name, first / FRAME_RATE, 1.0, stretch)

    def collate(self, rows: Sequence[Float32Array]) -> tuple[Tensor, list[int]]:
        """See `WindowSource.collate`: `[B, F, D]`."""
        padded = torch.nn.utils.rnn.pad_sequence([as_tensor(row) for row in rows], batch_first=True)
        return padded, [len(row) for row in rows]
