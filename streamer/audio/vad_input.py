"""The chunks of one stream for the speech detector: its audio at two speeds, cut, and resampled where it must be.

Both are cut from one buffer at 24 kHz. Played at its own speed, a chunk of 512 samples at 16 kHz is 768 samples at
24 kHz, resampled by a filter of our own: one product with a matrix for all streams takes less time than a resampler
with a state for each, and needs 1.5 ms of audio after the chunk and not 11. Slowed to two thirds, samples at 24 kHz
need only be taken as samples at 16 kHz.
"""

from typing import TYPE_CHECKING

import numpy as np

from streamer.arrays import Float32Array, Samples
from streamer.constants import SAMPLE_RATE

if TYPE_CHECKING:  # slow to import
    from torch import Tensor

VAD_RATE = 16_000  # Hz; the network's rate
VAD_CHUNK = 512  # samples at 16 kHz: the network's input per step
VAD_CONTEXT = 64  # samples at 16 kHz before a chunk that are part of its input, too
VAD_INPUT = VAD_CONTEXT + VAD_CHUNK
CHUNK = VAD_CHUNK * SAMPLE_RATE // VAD_RATE  # 512 x 3 / 2 = 768 samples at 24 kHz = 32 ms
SLOWED_CHUNK = VAD_CHUNK  # samples at 24 kHz = 21.3 ms
GAIN = 4.0  # +12 dB on the normalised audio's -26 dBFS: measured, the model detects faint speech better at -14 dBFS

_REACH = 36  # samples at 24 kHz = 1.5 ms that the filter sees on either side of a sample
LOOKAHEAD = _REACH  # samples after a chunk that it needs
_CONTEXT = VAD_CONTEXT * SAMPLE_RATE // VAD_RATE  # 96 samples at 24 kHz
_RAW_INPUT = _CONTEXT + CHUNK + 2 * _REACH  # 936 samples at 24 kHz that a chunk is resampled from
RAW_BLOCK_STEP, RESAMPLED_BLOCK = 48, 32  # samples at 24 kHz, and at 16 kHz, that one product makes
RAW_BLOCK = RAW_BLOCK_STEP + 2 * _REACH  # samples at 24 kHz that it takes
# The response of soxr's quality "LQ", with which the thresholds were measured: flat to 6 kHz, -6 dB at 6.7 kHz.
_CUTOFF_HZ = 6_710.0
_KAISER_BETA = 12.0


class VadInput:
    """What one stream's detector has received and not passed on, at 24 kHz, made louder for the network."""

    def __init__(self) -> None:
        self._audio: Float32Array = np.zeros(_CONTEXT + _REACH, dtype=np.float32)  # silence before the first sample
        self._plain = 0  # where the next chunk's input begins in `_audio`
        self._slowed = _CONTEXT + _REACH - VAD_CONTEXT  # likewise, of the slowed audio

    def take(self, samples: Samples) -> tuple[Samples, Samples]:
        """Return the chunks that `samples` ([n] float32 at 24 kHz) complete.

        Returns:
            [K, 936] at 24 kHz, for `SileroNetwork.to_16_khz`, and of the slowed audio [K', 576]; both may be views.
        """
        waiting = len(self._audio)
        audio = np.empty(waiting + len(samples), dtype=np.float32)
        audio[:waiting] = self._audio
        louder = np.multiply(samples, np.float32(GAIN), out=audio[waiting:])
        np.minimum(np.maximum(louder, -1, out=louder), 1, out=louder)
        plain = windows(audio, self._plain, _RAW_INPUT, CHUNK)
        slowed = windows(audio, self._slowed, VAD_INPUT, SLOWED_CHUNK)
        plain_next, slowed_next = self._plain + len(plain) * CHUNK, self._slowed + len(slowed) * SLOWED_CHUNK
        done = min(plain_next, slowed_next)
        self._audio = audio[done:].copy()  # a view would keep all of it in memory
        self._plain, self._slowed = plain_next - done, slowed_next - done
        return plain, slowed


def windows(audio: Samples, begin: int, length: int, step: int) -> Samples:
    """Return the windows of `length` every `step` samples of `audio` from `begin` on, [K, length], as a view."""
    count = max(0, (len(audio) - begin - length) // step + 1)
    if not count:
        return np.zeros((0, length), dtype=np.float32)
    itemsize = audio.itemsize  # numpy's own function for this takes ten times as long
    return np.ndarray((count, length), audio.dtype, audio, begin * itemsize, (step * itemsize, itemsize))


def resampling_matrix() -> "Tensor":
    """Return the matrix [32, 120] from 48 samples at 24 kHz, with 36 before and after them, to 32 at 16 kHz.

    A sinc in a Kaiser window, of 73 taps at 24 kHz; each output's taps sum to one.
    """
    import torch

    outputs = np.arange(RESAMPLED_BLOCK)[:, None] * (SAMPLE_RATE / VAD_RATE)
    at = np.arange(-_REACH, RAW_BLOCK_STEP + _REACH) - outputs  # [32, 120]
    inside = np.sqrt(np.clip(1 - (at / _REACH) ** 2, 0, 1))
    taps = np.where(np.abs(at) < _REACH, np.sinc(2 * _CUTOFF_HZ / SAMPLE_RATE * at) * np.i0(_KAISER_BETA * inside), 0)
    return torch.from_numpy((taps / taps.sum(axis=1, keepdims=True)).astype(np.float32))
