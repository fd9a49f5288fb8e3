"""A causal high-pass before the level normaliser: takes off a DC offset, mains hum and rumble.

A Butterworth filter of the second order, as bilinear transform of the analogue one (Oppenheim and Schafer,
*Discrete-Time Signal Processing*, 7.1): 12 dB an octave below the cutoff. Speech has next to nothing below 80 Hz; an
offset or a rumble there is taken for the level of the speech otherwise, which the normaliser then turns down.

A recursive filter in state-space form, s' = A s + b x and y = c s + d x, is linear in its state and the samples, so a
block of 64 samples is one product with a matrix, and only the state goes from block to block:

    y = O s + H x    (H: Toeplitz matrix of the impulse response, O: what the state adds)
    s' = A^64 s + R x

It computes in float64. How a stream is cut into chunks changes no sample by more than rounding.

A stream begins as though its first sample had been there for ever: an offset makes no thump that the normaliser would
take for the first word.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from streamer.arrays import Float64Array, Samples
from streamer.constants import SAMPLE_RATE

Mask = npt.NDArray[np.bool_]
_Chosen = npt.NDArray[np.int64]

BLOCK = 64  # samples: larger blocks multiply more, smaller ones take more steps of Python
ORDER = 2


@dataclass
class HighPassState:
    """State of the filter for each stream."""

    memory: Float64Array  # [B, 2] s
    begun: Mask  # [B] whether there was a sample

    @classmethod
    def fresh(cls, batch_size: int) -> "HighPassState":
        """Return the state before the first sample."""
        return cls(np.zeros((batch_size, ORDER)), np.zeros(batch_size, dtype=bool))

    def take(self, streams: _Chosen) -> "HighPassState":
        """Return a copy of the state of `streams` [N]."""
        return HighPassState(self.memory[streams], self.begun[streams])

    def put(self, streams: _Chosen, state: "HighPassState") -> None:
        """Overwrite the state of `streams` [N] with `state`."""
        self.memory[streams], self.begun[streams] = state.memory, state.begun


class HighPass:
    """Filters streams of 24 kHz mono audio, each by itself. See the module.

    Args:
        batch_size: number of streams.
        cutoff_hz: where the filter attenuates by 3 dB.

    Raises:
        ValueError: the batch is empty, or the cutoff is not between 0 and half the sample rate.
    """

    def __init__(self, batch_size: int, cutoff_hz: float) -> None:
        if batch_size < 1:
            raise ValueError(f"A high-pass needs at least one stream, not {batch_size}.")
        if not 0 < cutoff_hz < SAMPLE_RATE / 2:
            raise ValueError(f"The cutoff must lie between 0 and {SAMPLE_RATE // 2} Hz, not {cutoff_hz}.")
        self.batch_size = batch_size
        self.cutoff_hz = cutoff_hz
        self.state = HighPassState.fresh(batch_size)
        self._blocks = _blocks(cutoff_hz)

    def reset(self, mask: Mask | None = None) -> None:
        """Reset the streams in `mask` [B], or all of them without one."""
        chosen = np.arange(self.batch_size) if mask is None else np.flatnonzero(mask)
        self.state.put(chosen, HighPassState.fresh(len(chosen)))

    def grow(self, batch_size: int) -> None:
        """Make room for more streams, `batch_size` in all: the new ones are fresh, the others stay as they are.

        Raises:
            ValueError: there are more streams than that already.
        """
        if batch_size < self.batch_size:
            raise ValueError(f"There are {self.batch_size} streams already, and a batch only grows; not {batch_size}.")
        grown = HighPassState.fresh(batch_size)
        grown.put(np.arange(self.batch_size), self.state)
        self.batch_size, self.state = batch_size, grown

    def step(self, audio: Samples, mask: Mask | None = None) -> Samples:
        """Filter the next samples of every stream.

        Args:
            audio: [B, S] float32, S >= 0; samples that are not finite become 0, or they would stay in the state.
            mask: [B] bool; a stream outside it keeps its state untouched and gets zeros.

        Returns:
            [B, S] float32.

        Raises:
            ValueError: `audio` is not [B, S].
        """
        if audio.ndim != 2 or audio.shape[0] != self.batch_size:
            raise ValueError(f"The audio must be [{self.batch_size}, S], not {list(audio.shape)}.")
        out = np.zeros_like(audio, dtype=np.float32)
        chosen = np.arange(self.batch_size) if mask is None else np.flatnonzero(mask)
        if out.size == 0 or len(chosen) == 0:
            return out
        given = audio[chosen]
        samples = np.where(np.isfinite(given), given, 0).astype(np.float64)
        state = self.state.take(chosen)
        state.memory = np.where(state.begun[:, None], state.memory, self._blocks.steady * samples[:, :1])
        out[chosen], memory = self._blocks.filter(samples, state.memory)
        self.state.put(chosen, HighPassState(memory, np.ones(len(chosen), dtype=bool)))
        return out


@dataclass(frozen=True)
class _Blocks:
    """The filter's matrices for a block of BLOCK samples."""

    steady: Float64Array  # [2] state after an endless input of ones; the output is 0 then
    from_samples: Float64Array  # [64, 64] H
    from_state: Float64Array  # [64, 2] O
    powers: Float64Array  # [65, 2, 2] A^n
    to_state: Float64Array  # [2, 64] R

    def filter(self, samples: Float64Array, state: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return the output [B, S] of `samples` [B, S] from `state` [B, 2] on, and the state after them."""
        whole = samples.shape[1] // BLOCK
        blocks = samples[:, : whole * BLOCK].reshape(len(samples), whole, BLOCK)  # [B, K, 64]
        pushed = blocks @ self.to_state.T  # [B, K, 2]
        states = np.empty((len(samples), whole, ORDER))
        step = self.powers[BLOCK].T
        for k in range(whole):
            states[:, k] = state
            state = state @ step + pushed[:, k]
        out = np.empty_like(samples)
        out[:, : whole * BLOCK] = (blocks @ self.from_samples.T + states @ self.from_state.T).reshape(len(samples), -1)
        rest = samples[:, whole * BLOCK :]  # [B, n], n < 64
        n = rest.shape[1]
        out[:, whole * BLOCK :] = rest @ self.from_samples[:n, :n].T + state @ self.from_state[:n].T
        return out, state @ self.powers[n].T + rest @ self.to_state[:, BLOCK - n :].T


@cache
def _blocks(cutoff_hz: float) -> _Blocks:
    warped = np.tan(np.pi * cutoff_hz / SAMPLE_RATE)
    scale = 1 + np.sqrt(2) * warped + warped**2
    b0, b1, b2 = np.array([1.0, -2.0, 1.0]) / scale
    a1, a2 = 2 * (warped**2 - 1) / scale, (1 - np.sqrt(2) * warped + warped**2) / scale
    # Transposed direct form II: y = b0 x + s1, s1' = b1 x - a1 y + s2, s2' = b2 x - a2 y.
    a = np.array([[-a1, 1.0], [-a2, 0.0]])
    b = np.array([b1 - a1 * b0, b2 - a2 * b0])
    powers = np.stack([np.linalg.matrix_power(a, n) for n in range(BLOCK + 1)])
    from_state = powers[:BLOCK, 0]  # [64, 2]: c = (1, 0)
    response = np.concatenate([[b0], from_state[:-1] @ b])  # [64] h
    lag = np.arange(BLOCK)[:, None] - np.arange(BLOCK)
    to_state = np.stack([powers[BLOCK - 1 - n] @ b for n in range(BLOCK)], axis=1)  # [2, 64]
    return _Blocks(
        steady=np.array([-b0, -b0 - b1]),
        from_samples=np.where(lag >= 0, response[np.maximum(lag, 0)], 0.0),
        from_state=from_state,
        powers=powers,
        to_state=to_state,
    )
