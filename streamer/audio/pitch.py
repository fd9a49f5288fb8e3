"""Find a voice of very high pitch by its moving harmonics: a scream has few of what a speech detector looks for.

Over frames of 64 ms, every 32 ms, the fundamental frequency is the lag at which the autocorrelation is largest
(Boersma, "Accurate short-term analysis of the fundamental frequency", 1993: divided by that of the window). A frame
counts where it is periodic, has between 420 and 1,000 Hz, and its pitch moved by a little from the frame before: that
of a voice always does, while a machine, a buzz or a played note stays where it is, and a chord has no pitch at all.
"""

from collections import deque

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from streamer.arrays import Float64Array, Samples
from streamer.constants import SAMPLE_RATE

STEP = 768  # samples = 32 ms: a chunk of the speech detector
FRAME = 2 * STEP  # 64 ms: 27 periods of 420 Hz
LOWEST_HZ, HIGHEST_HZ = 420.0, 1_000.0
PERIODIC = 0.8  # normalised autocorrelation; noise has 0.3, vowels 0.9 and more
AUDIBLE_RMS = 0.02  # after the level normaliser, which brings speech to 0.05
LEAST_MOVE, MOST_MOVE = 0.006, 0.12  # octaves in 32 ms: 7 cents and 1.4 semitones
WINDOW_FRAMES = 31  # 1 s
BEGINS, ENDS = 10, 8  # frames that count within a second, from which a voice begins and below which it ends

_LAGS = np.arange(20, 100)  # samples: 1,200 to 242 Hz
_NEARLY = 0.93  # of the largest peak: of several periods the shortest is the fundamental one
_WINDOW = np.hanning(FRAME)
FFT = 1_728  # 2^6 x 3^3 >= 1,536 + 101: the lags that are used do not wrap around


def _autocorrelation(frames: Float64Array) -> Float64Array:
    """Return the autocorrelation [M, 101] of `frames` [M, 1536] at lags 0 to 100."""
    spectrum = np.fft.rfft(frames, FFT, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    result: Float64Array = np.fft.irfft(power, axis=1)[:, : _LAGS[-1] + 2]
    return result


_OF_WINDOW = _autocorrelation(_WINDOW[None])[0]


def high_pitches(frames: Samples) -> Float64Array:
    """Return the pitch in Hz of `frames` ([M, 1536] at 24 kHz), [M]; 0 where there is none from 420 to 1,000 Hz."""
    pitches = np.zeros(len(frames))
    loud = np.mean(np.square(frames), axis=1) >= AUDIBLE_RMS**2
    if loud.any():
        pitches[loud] = _pitches(frames[loud].astype(np.float64))
    return pitches


def _pitches(values: Float64Array) -> Float64Array:
    r = _autocorrelation((values - values.mean(axis=1, keepdims=True)) * _WINDOW)
    r = r / (r[:, :1] + 1e-9) / (_OF_WINDOW / _OF_WINDOW[0])
    inner, before, after = r[:, _LAGS], r[:, _LAGS - 1], r[:, _LAGS + 1]
    peaks = (inner >= before) & (inner >= after) & (inner >= _NEARLY * inner.max(axis=1, keepdims=True))
    place = np.where(peaks.any(axis=1), peaks.argmax(axis=1), inner.argmax(axis=1))
    rows = np.arange(len(values))
    left, top, right = before[rows, place], inner[rows, place], after[rows, place]
    between = np.clip((left - right) / (2 * (left - 2 * top + right) - 1e-12), -0.5, 0.5)  # the parabola's vertex
    pitch = SAMPLE_RATE / (_LAGS[place] + between)
    found = (top >= PERIODIC) & (pitch >= LOWEST_HZ) & (pitch <= HIGHEST_HZ)
    return np.where(found, pitch, 0.0)


class HighVoice:
    """Whether one stream holds a voice of very high pitch, frame by frame."""

    def __init__(self) -> None:
        self._waiting: Samples = np.zeros(0, dtype=np.float32)  # less than a frame
        self._pitch = 0.0  # of the newest frame
        self._counting: deque[bool] = deque(maxlen=WINDOW_FRAMES)
        self._present = False

    def complete(self, samples: Samples) -> Samples:
        """Return the frames ([M, 1536]) that `samples` ([n] float32 at 24 kHz, level-normalised) complete."""
        waiting = np.concatenate([self._waiting, np.asarray(samples, dtype=np.float32)])
        count = max(0, len(waiting) // STEP - 1)
        self._waiting = waiting[count * STEP :].copy()
        if not count:
            return np.zeros((0, FRAME), dtype=np.float32)
        return sliding_window_view(waiting, FRAME)[::STEP][:count]

    def take(self, pitches: npt.ArrayLike) -> list[bool]:
        """Return whether there is a high voice after each frame, from the frames' pitches in Hz."""
        present = []
        for pitch in np.asarray(pitches, dtype=np.float64).tolist():
            both = pitch > 0 and self._pitch > 0
            moved = abs(float(np.log2(pitch / self._pitch))) if both else 0.0
            self._counting.append(LEAST_MOVE < moved < MOST_MOVE)
            self._pitch = pitch
            self._present = sum(self._counting) >= (ENDS if self._present else BEGINS)
            present.append(self._present)
        return present
