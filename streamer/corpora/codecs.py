"""What telephones and the network do to speech: 8 kHz with companding, and lossy codecs at low rates."""

import io

import numpy as np
import soundfile
import soxr

from streamer.arrays import Samples
from streamer.constants import SAMPLE_RATE
from streamer.corpora.augment import Generator

_TELEPHONE_HZ = 8_000
_TELEPHONES = ("ULAW", "GSM610")  # fixed networks, and mobile ones of old
# libsndfile's compression level: 0 is the highest rate of the codec, 1 the lowest.
_LOSSY = (("OGG", "OPUS", 0.98), ("OGG", "OPUS", 0.9), ("MP3", "MPEG_LAYER_III", 0.9))


def telephone(audio: Samples, subtype: str = "ULAW") -> Samples:
    """Pass audio `[T]` through a telephone's sampling rate and codec: mu-law, or GSM 06.10."""
    narrow = soxr.resample(audio, SAMPLE_RATE, _TELEPHONE_HZ)
    return _fitted(soxr.resample(_coded(narrow, _TELEPHONE_HZ, "WAV", subtype), _TELEPHONE_HZ, SAMPLE_RATE), len(audio))


def random_telephone(audio: Samples, rng: Generator) -> Samples:
    """Pass audio `[T]` through one of the telephones."""
    return telephone(audio, str(rng.choice(_TELEPHONES)))


def random_codec(audio: Samples, rng: Generator) -> Samples:
    """Pass audio `[T]` through Opus or MP3 at a low rate."""
    container, subtype, level = _LOSSY[rng.integers(len(_LOSSY))]
    return _fitted(_coded(audio, SAMPLE_RATE, container, subtype, level), len(audio))


def _coded(audio: Samples, rate: int, container: str, subtype: str, level: float | None = None) -> Samples:
    """Write audio `[T]` with a codec, and read it back: `[T']`, nearly as long."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(audio, -1, 1), rate, format=container, subtype=subtype, compression_level=level)
    file.seek(0)
    decoded: Samples = soundfile.read(file, dtype="float32")[0]
    return decoded


def _fitted(audio: Samples, length: int) -> Samples:
    return np.pad(audio[:length], (0, max(0, length - len(audio)))).astype(np.float32)
