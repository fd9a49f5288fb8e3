"""Recordings from disk as the encoder wants them."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from streamer.errors import StreamerError
from streamer.rates import SAMPLE_RATE

Samples = npt.NDArray[np.float32]


def read_recording(path: Path) -> Samples:
    """A whole file as mono float32 `[T]` at 24 kHz, T >= 1.

    Raises:
        StreamerError: it cannot be read, or holds no samples.
    """
    try:
        audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise StreamerError(f"{path} cannot be read as audio; convert it to WAV or FLAC, or take it out.") from error
    if not len(audio):
        raise StreamerError(f"{path} holds no sound; take it out of the corpus.")
    mono: Samples = audio.mean(axis=1)
    if rate_hz != SAMPLE_RATE:
        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE)
    mono = np.nan_to_num(mono).astype(np.float32)
    return mono
