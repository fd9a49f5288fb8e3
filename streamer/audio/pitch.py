"""Find a voice of very high pitch by its moving harmonics: a scream has few of what a speech detector looks for.

Over frames of 64 ms, every 32 ms, the fundamental frequency is the lag at which the autocorrelation is largest
(Boersma, "Accurate short-term analysis of the fundamental frequency", 1993: divided by that of the window). A frame
counts where it is periodic, has between 420 and 1,000 Hz, and its pitch moved by a little from the frame before: that
of a voice always does, while a machine, a buzz or a played note stays where it is, and a chord has no pitch at all.
"""

from collections import deque
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from streamer.arrays import Float32Array, Float64Array, Samples
from streamer.audio.vad_input import windows
from streamer.constants import SAMPLE_RATE

if TYPE_CHECKING:  # slow to import
    from torch import Tensor

STEP = 768  # samples = 32 ms: a chunk of the speech detector
FRAME = 2 * STEP  # 64 ms: 27 periods of 420 Hz
LOWEST_HZ, HIGHEST_HZ = 420.0, 1_000.0
PERIODIC = 0.8  # normalised autocorrelation; noise has 0.3, vowels 0.9 and more
AUDIBLE_RMS = 0.02  # after the level normaliser, which brings speech to 0.05
LEAST_MOVE, MOST_MOVE = 0.006, 0.12  # octaves in 32 ms: 7 cents and 1.4 semitones
WINDOW_FRAMES = 31  # 1 s
WAITING_FRAMES = 48  # 1.5 s
TRIM_FRAMES = 8  # forgotten at once, since all that waits is moved
_ROOM = (WAITING_FRAMES + 2 * TRIM_FRAMES + 2) * STEP  # samples: those that wait, TRIM_FRAMES more, and a usual hop
BEGINS, ENDS = 10, 8  # frames that count within a second, from which a voice begins and below which it ends

_LAGS = np.arange(20, 100)  # samples: 1,200 to 242 Hz
_NEARLY = 0.93  # of the largest peak: of several periods the shortest is the fundamental one
NO_FRAMES: Samples = np.zeros((0, FRAME), dtype=np.float32)
FFT = 1_728  # 2^6 x 3^3 >= 1,536 + 101: the lags that are used do not wrap around


def high_pitches(frames: Samples) -> Float64Array:
    """Return the pitch in Hz of `frames` ([M, 1536] at 24 kHz), [M]; 0 where there is none from 420 to 1,000 Hz."""
    pitches = np.zeros(len(frames))
    loud = np.flatnonzero(audible(frames))
    if len(loud):
        pitches[loud] = _pitches(frames[loud])
    return pitches


def audible(frames: Samples) -> npt.NDArray[np.bool_]:
    """Return which of `frames` [M, 1536] are loud enough to have a pitch, [M]."""
    powers = np.einsum("mt,mt->m", frames, frames) / frames.shape[1]
    return np.asarray(powers >= AUDIBLE_RMS**2)


def _pitches(frames: Samples) -> Float64Array:
    r = _autocorrelation(frames)
    r /= (r[:, :1] + np.float32(1e-9)) * _of_window()
    first, end = _LAGS[0], _LAGS[-1] + 1
    before, inner, after = (r[:, first + shift : end + shift] for shift in (-1, 0, 1))
    best = inner.argmax(axis=1)
    rows = np.arange(len(r))
    peaks = (inner >= before) & (inner >= after) & (inner >= _NEARLY * inner[rows, best][:, None])
    shortest = peaks.argmax(axis=1)
    place = np.where(peaks[rows, shortest], shortest, best)
    left, top, right = (part[rows, place].astype(np.float64) for part in (before, inner, after))
    between = np.clip((left - right) / (2 * (left - 2 * top + right) - 1e-12), -0.5, 0.5)  # the parabola's vertex
    pitch = SAMPLE_RATE / (_LAGS[place] + between)
    found = (top >= PERIODIC) & (pitch >= LOWEST_HZ) & (pitch <= HIGHEST_HZ)
    return np.where(found, pitch, 0.0)


def _autocorrelation(frames: Samples) -> Float32Array:
    """Return the autocorrelation [M, 101] of `frames` [M, 1536], less their mean and windowed, at lags 0 to 100.

    The power spectrum goes back by a product with a matrix: of 1,728 lags 101 are needed.
    """
    import torch

    with torch.inference_mode():
        centred = (frames - frames.mean(axis=1, keepdims=True)) * _window()
        powers = np.abs(torch.fft.rfft(torch.from_numpy(centred), FFT).numpy())  # a quarter of torch's time
        np.square(powers, out=powers)
        found: Float32Array = torch.mm(torch.from_numpy(powers), _inverse()).numpy()
    return found


@cache
def _window() -> Float32Array:
    window: Float32Array = np.hanning(FRAME).astype(np.float32)
    return window


@cache
def _inverse() -> "Tensor":
    """Return the inverse real Fourier transform of a power spectrum, for lags 0 to 100: [865, 101]."""
    import torch

    bins = np.arange(FFT // 2 + 1)
    twice = np.where((bins == 0) | (bins == FFT // 2), 1, 2)[:, None] / FFT
    cosines = np.cos(2 * np.pi / FFT * bins[:, None] * np.arange(_LAGS[-1] + 2))
    return torch.from_numpy((twice * cosines).astype(np.float32))


@cache
def _of_window() -> Float32Array:
    """Return the autocorrelation [101] of the window, 1 at lag 0."""
    of_window = np.correlate(_window(), _window(), "full")[FRAME - 1 : FRAME + _LAGS[-1] + 1]
    return np.asarray(of_window / of_window[0], dtype=np.float32)


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
            return NO_FRAMES
        return windows(waiting, 0, FRAME, STEP)

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

    @property
    def count(self) -> int:
        """How many of the frames in the newest second count."""
        return sum(self._counting)

    def forget(self) -> None:
        """Take up again after frames whose pitch is not known: none of them counted."""
        self._pitch, self._present = 0.0, False
        self._counting.clear()


class HighVoiceOnDemand:
    """Whether one stream holds a voice of very high pitch, at those frames only where it is asked.

    Measuring a pitch takes longer than everything else of a frame, and while the network finds speech nobody asks. So
    audio waits until somebody does, at most the newest 48 frames: 31 to count over, and 17 to find out which of the
    two limits, to begin or to end, holds for a count between them.

    Args:
        first: number of the first frame.
    """

    def __init__(self, first: int = 0) -> None:
        self._voice = HighVoice()
        self._audio: Samples = np.empty(_ROOM, dtype=np.float32)
        self._samples = 0  # of it that wait
        self._powers: list[float] = []  # sum of squares of each step among them, as far as anybody asked
        self._first = first  # number of the frame at their beginning
        self._asked = 0  # frames given by `ask`

    def push(self, samples: Samples) -> None:
        """Add the next samples, [n] float32 at 24 kHz, level-normalised."""
        end = self._samples + len(samples)
        if end > len(self._audio):
            self._audio = np.concatenate([self._audio[: self._samples], np.empty(end, dtype=np.float32)])
        self._audio[self._samples : end] = samples
        self._samples = end

    def trim(self) -> None:
        """Forget what nobody will ask for; to be called once a step."""
        if self._samples > (WAITING_FRAMES + TRIM_FRAMES) * STEP:  # every hop or two
            self._forget_before(self._first + self._samples // STEP - WAITING_FRAMES)
        if len(self._audio) > _ROOM >= self._samples:
            self._audio = self._audio[:_ROOM].copy()

    def ask(self, first: int, last: int) -> Samples:
        """Return the frames [M, 1536] whose pitch `answer` needs to tell of frames `first` to `last`.

        None of them where too few are loud enough for a voice to be present: then `answer` must not be called.
        """
        self._forget_before(first + 1 - WAITING_FRAMES)
        self._asked = last - self._first + 1
        if self._asked <= 0:
            return NO_FRAMES
        steps = windows(self._audio[: self._samples], len(self._powers) * STEP, STEP, STEP)
        self._powers += np.einsum("mt,mt->m", steps, steps).tolist()
        frame_powers = np.convolve(self._powers[: self._asked + 1], (1, 1), "valid") / FRAME
        if self._voice.count + np.count_nonzero(frame_powers >= AUDIBLE_RMS**2) < ENDS:
            return NO_FRAMES
        return windows(self._audio[: self._samples], 0, FRAME, STEP)[: self._asked]

    def answer(self, pitches: npt.ArrayLike) -> dict[int, bool]:
        """Return whether there is a voice after each frame, by its number, from the pitches of what `ask` gave."""
        flags = dict(enumerate(self._voice.take(pitches), start=self._first))
        self._drop(self._asked)
        return flags

    def _forget_before(self, number: int) -> None:
        if number > self._first:
            self._drop(number - self._first)
            self._voice.forget()

    def _drop(self, frames: int) -> None:
        left = self._samples - frames * STEP
        self._audio[:left] = self._audio[self._samples - left : self._samples].copy()
        self._samples = left
        del self._powers[:frames]
        self._first += frames
