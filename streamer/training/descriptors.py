"""Acoustic descriptors at every frame, as auxiliary targets: log-mel energies, and low-level descriptors of eGeMAPS.

Predicting them keeps pitch, loudness and timbre in the student's frames. Eyben et al., "The Geneva Minimalistic
Acoustic Parameter Set (GeMAPS) for Voice Research and Affective Computing", 2016 (25 descriptors, computed by
openSMILE).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from streamer.arrays import Float32Array
from streamer.constants import FRAME_RATE, FRAME_SAMPLES, SAMPLE_RATE
from streamer.corpora.array_store import RaggedStore
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip
from streamer.decoding.files import READER_VERSION
from streamer.errors import UsageError
from streamer.extras import install_command
from streamer.progress import Progress
from streamer.training.teacher import mel_filters

MELS, LOW_LEVEL = 64, 25
DESCRIPTORS = MELS + LOW_LEVEL
_FFT = 1024  # 43 ms, ending with the frame
_LOW_HZ, _HIGH_HZ = 60.0, 11_000.0
_RMS = 0.05  # that clips are scaled to
_SMILE_RATE = 100  # frames a second of openSMILE's descriptors
_SCALE_CLIPS = 300  # drawn to standardise
_MAX_DEVIATIONS = 8  # standardised values are clipped here


class DescriptorStore:
    """Standardised descriptors of clean clips at the student's frame rate, `[F, 89]` a clip."""

    def __init__(self, folder: Path) -> None:
        self.frames = RaggedStore(folder / f"descriptors-{READER_VERSION}", DESCRIPTORS)
        self._scale_path = folder / f"descriptors-{READER_VERSION}-scale.npz"

    def prepare(self, clips: Sequence[Clip], audio: AudioStore, seed: int, progress: Progress[Clip]) -> None:
        """Compute what the file lacks. The clips of the first call fix the scale.

        Raises:
            UsageError: openSMILE is not installed.
        """
        left = [clip for clip in clips if clip.key not in self.frames]
        if not left:
            return
        low_level = low_level_extractor()

        def describe(clip: Clip) -> Float32Array:
            samples = audio[clip.key]
            samples = samples * np.float32(_RMS / max(float(np.sqrt(np.mean(np.square(samples)))), 1e-6))
            mels = log_mel(samples)
            return np.concatenate([mels, low_level(samples, len(mels))], axis=1)

        if not self._scale_path.is_file():
            drawn = np.random.default_rng(seed).permutation(len(clips))[:_SCALE_CLIPS]
            values = np.concatenate([describe(clips[i]) for i in drawn])
            partial = self._scale_path.with_suffix(".part.npz")
            np.savez(partial, mean=values.mean(axis=0), deviation=values.std(axis=0) + 1e-6)
            partial.replace(self._scale_path)
        scale = np.load(self._scale_path)
        for clip in progress(left, "descriptors"):
            standard = (describe(clip) - scale["mean"]) / scale["deviation"]
            self.frames.append(clip.key, np.clip(standard, -_MAX_DEVIATIONS, _MAX_DEVIATIONS))


def log_mel(audio: Float32Array) -> Float32Array:
    """Return log10 mel power `[F, 64]` of audio `[T]` at 24 kHz, T >= 1: 75 frames a second.

    A frame's spectrum is of the 1,024 samples that end with the frame.
    """
    frames = max(1, len(audio) // FRAME_SAMPLES)
    padded = np.zeros(_FFT - FRAME_SAMPLES + frames * FRAME_SAMPLES, dtype=np.float32)
    padded[_FFT - FRAME_SAMPLES :][: len(audio)] = audio[: frames * FRAME_SAMPLES]
    spectrum = torch.stft(
        torch.from_numpy(padded), _FFT, FRAME_SAMPLES, window=torch.hann_window(_FFT), center=False, return_complex=True
    )  # [513, F]
    filters = torch.from_numpy(mel_filters(MELS, _FFT, SAMPLE_RATE, _LOW_HZ, _HIGH_HZ))  # [64, 513]
    log: Float32Array = (filters @ spectrum.abs().square()).clamp(min=1e-8).log10().T.numpy()
    return log


def low_level_extractor() -> Callable[[Float32Array, int], Float32Array]:
    """Return a function from audio `[T]` at 24 kHz and a frame count F to eGeMAPS descriptors `[F, 25]`, 75 a second.

    Raises:
        UsageError: openSMILE is not installed.
    """
    try:
        import opensmile
    except ImportError as error:
        raise UsageError(f"Descriptors need openSMILE, which is not installed; {install_command('train')}.") from error
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors)

    def extract(audio: Float32Array, frames: int) -> Float32Array:
        values = smile.process_signal(np.pad(audio, (0, max(0, SAMPLE_RATE // 10 - len(audio)))), SAMPLE_RATE)
        rows = values.to_numpy(np.float32)  # [N, 25], 100 a second
        places = np.clip(np.round((np.arange(frames) + 0.5) / FRAME_RATE * _SMILE_RATE - 0.5), 0, len(rows) - 1)
        return np.asarray(rows[places.astype(np.int64)])

    return extract
