"""Synthetic stand-ins for speech that Silero VAD takes for a voice."""

from functools import cache

import numpy as np
import soxr

from streamer.audio.front_end import normalize
from streamer.constants import SAMPLE_RATE


@cache
def _four_seconds() -> np.ndarray:
    n = 4 * SAMPLE_RATE
    t = np.arange(n) / SAMPLE_RATE
    phase = np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / SAMPLE_RATE
    pulses = np.diff(np.floor(phase), prepend=0.0)
    syllable = (t * 5).astype(int) % 3
    spectrum = np.zeros(n // 2 + 1, complex)
    for index, formants in enumerate(((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240))):
        resonances = sum(np.exp(-80 * np.pi * t) * np.sin(2 * np.pi * formant * t) for formant in formants)
        spectrum += np.fft.rfft(pulses * (syllable == index)) * np.fft.rfft(resonances)
    out = np.fft.irfft(spectrum, n) * (0.3 + np.abs(np.sin(2 * np.pi * 2.5 * t)))
    return out / np.sqrt(np.mean(out**2))


def vowels(seconds: float, rms: float = 0.05) -> np.ndarray:
    """A stand-in for speech: a gliding voice through three vowels' formants, five syllables a second, up to 4 s."""
    return (rms * _four_seconds()[: int(seconds * SAMPLE_RATE)]).astype(np.float32)


def high_voice() -> np.ndarray:
    """The stand-in for speech played 2.5 times as fast: 1.6 s of a 300 Hz voice that the plain audio hardly shows."""
    fast = soxr.resample(vowels(4.0), 2.5 * SAMPLE_RATE, SAMPLE_RATE)
    return normalize(fast[None].astype(np.float32))[0]
