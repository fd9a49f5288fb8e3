"""A causal high-pass before the level normaliser: takes off a DC offset, mains hum and rumble.

A Butterworth filter of the second order, as bilinear transform of the analogue one (Oppenheim and Schafer,
*Discrete-Time Signal Processing*, 7.1): 12 dB an octave below the cutoff. Speech has next to nothing below 80 Hz; an
offset or a rumble there is taken for the level of the speech otherwise, which the normaliser then turns down.

A recursive filter in state-space form, s' = A s + b x and y = c s + d x, is linear in its state and the samples, so a
block of 32 samples is one product with a matrix, and only the state goes from block to block:

    y = O s + H x    (H: Toeplitz matrix of the impulse response, O: what the state adds)
    s' = A^32 s + R x

In the same way the states within a group of 16 blocks are one product with the state before the group and all R x.

The states are float64; what is only summed up within a block is float32, as the samples are. How a stream is cut into
chunks changes no sample by more than rounding.

A stream begins as though its first sample had been there for ever: an offset makes no thump that the normaliser would
take for the first word.
"""

from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np

from streamer.arrays import Float32Array, Float64Array, Samples
from streamer.audio.rows import Mask, Rows, rows_of, step_rows
from streamer.constants import SAMPLE_RATE

_Matrix = TypeVar("_Matrix", Float32Array, Float64Array)

BLOCK = 32  # samples: larger blocks multiply more, smaller ones have more states
GROUP = 32  # blocks: one step of Python each
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

    def take(self, streams: Rows) -> "HighPassState":
        """Return a copy of the state of `streams` [N]."""
        return HighPassState(self.memory[streams], self.begun[streams])

    def put(self, streams: Rows, state: "HighPassState") -> None:
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
        rows = rows_of(self.batch_size, mask)
        self.state.put(rows, HighPassState.fresh(len(rows)))

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
        return step_rows(audio, self.batch_size, mask, self._step)

    def _step(self, rows: Rows, samples: Samples) -> Samples:
        if not np.isfinite(samples.sum()):
            samples = np.where(np.isfinite(samples), samples, np.float32(0))
        state = self.state.take(rows)
        state.memory = np.where(state.begun[:, None], state.memory, self._blocks.steady * samples[:, :1])
        filtered, memory = self._blocks.filter(samples, state.memory)
        self.state.put(rows, HighPassState(memory, np.ones(len(rows), dtype=bool)))
        return filtered


@dataclass(frozen=True)
class _Blocks:
    """The filter's matrices for blocks of 32 samples and groups of 16 blocks."""

    steady: Float64Array  # [2] state after an endless input of ones; the output is 0 then
    from_samples: Float32Array  # [32, 32] transposed H
    pushes: Float64Array  # [32, 2] transposed R
    from_state: Float32Array  # [2, 32] transposed O
    powers: Float64Array  # [33, 2, 2] A^n
    states_from_pushes: Float64Array  # [32, 34] from all R x of a group to the states before its blocks and after them
    states_from_state: Float64Array  # [2, 34] likewise, from the state before the group

    def filter(self, samples: Float32Array, state: Float64Array) -> tuple[Float32Array, Float64Array]:
        """Return the output [B, S] of `samples` [B, S] from `state` [B, 2] on, and the state after them."""
        rows, length = samples.shape
        whole, rest = divmod(length, BLOCK)
        blocks = whole + (rest > 0)
        padded = samples
        if rest:
            padded = np.zeros((rows, blocks * BLOCK), dtype=np.float32)
            padded[:, :length] = samples
        each = np.ascontiguousarray(padded).reshape(-1, BLOCK)
        groups = -(-blocks // GROUP)
        pushes = np.zeros((rows, groups * GROUP, ORDER))
        pushes[:, :blocks] = _product(each.astype(np.float64), self.pushes).reshape(rows, blocks, ORDER)
        states = self._states(pushes.reshape(rows, groups, -1), state)  # [B, K + 1, 2]
        before = states[:, :blocks].astype(np.float32).reshape(-1, ORDER)
        out = _product(np.concatenate([each, before], axis=1), np.concatenate([self.from_samples, self.from_state]))
        after = states[:, whole]
        if rest:  # R is for whole blocks: as though zeros had come before the rest
            last = np.zeros((rows, BLOCK))
            last[:, BLOCK - rest :] = samples[:, length - rest :]
            after = after @ self.powers[rest].T + last @ self.pushes
        return out.reshape(rows, -1)[:, :length], after

    def _states(self, pushes: Float64Array, state: Float64Array) -> Float64Array:
        """Return the states before every block and after the last, [B, K + 1, 2], from R x of all, [B, G, 32]."""
        rows, groups, _ = pushes.shape
        within = (pushes.reshape(-1, GROUP * ORDER) @ self.states_from_pushes).reshape(rows, groups, -1)
        before = np.empty((rows, groups, ORDER))
        step = self.states_from_state[:, -ORDER:]
        for group in range(groups):
            before[:, group] = state
            state = state @ step + within[:, group, -ORDER:]
        within += before @ self.states_from_state
        states = within[:, :, :-ORDER].reshape(rows, groups * GROUP, ORDER)
        return np.concatenate([states, state[:, None]], axis=1)


def _product(left: _Matrix, right: _Matrix) -> _Matrix:
    """Return `left @ right` by torch: numpy's BLAS wakes threads of its own for products of this size."""
    import torch

    product: _Matrix = torch.mm(torch.from_numpy(left), torch.from_numpy(right)).numpy()
    return product


@cache
def _blocks(cutoff_hz: float) -> _Blocks:
    warped = np.tan(np.pi * cutoff_hz / SAMPLE_RATE)
    scale = 1 + np.sqrt(2) * warped + warped**2
    b0, b1, b2 = np.array([1.0, -2.0, 1.0]) / scale
    a1, a2 = 2 * (warped**2 - 1) / scale, (1 - np.sqrt(2) * warped + warped**2) / scale
    # Transposed direct form II: y = b0 x + s1, s1' = b1 x - a1 y + s2, s2' = b2 x - a2 y. The state is s1 and s1 + s2:
    # both poles are near 1, so that s1 and s2 nearly cancel, and float32 would lose the difference.
    basis = np.array([[1.0, 0.0], [1.0, 1.0]])
    a = basis @ np.array([[-a1, 1.0], [-a2, 0.0]]) @ np.linalg.inv(basis)
    b = basis @ np.array([b1 - a1 * b0, b2 - a2 * b0])
    powers = np.stack([np.linalg.matrix_power(a, n) for n in range(BLOCK + 1)])
    from_state = powers[:BLOCK, 0]  # [32, 2]: c = (1, 0)
    response = np.concatenate([[b0], from_state[:-1] @ b])  # [32] h
    lag = np.arange(BLOCK)[:, None] - np.arange(BLOCK)
    toeplitz = np.where(lag >= 0, response[np.maximum(lag, 0)], 0.0)
    to_state = np.stack([powers[BLOCK - 1 - n] @ b for n in range(BLOCK)])  # [32, 2]
    over_blocks = np.stack([np.linalg.matrix_power(powers[BLOCK], n) for n in range(GROUP + 1)])  # [17, 2, 2]
    pushed = np.zeros((GROUP, ORDER, GROUP + 1, ORDER))
    for block in range(GROUP):
        for later in range(block + 1, GROUP + 1):
            pushed[block, :, later] = over_blocks[later - 1 - block].T
    return _Blocks(
        steady=basis @ np.array([-b0, -b0 - b1]),
        from_samples=toeplitz.T.astype(np.float32),
        pushes=to_state,
        from_state=from_state.T.astype(np.float32),
        powers=powers,
        states_from_pushes=pushed.reshape(GROUP * ORDER, -1),
        states_from_state=over_blocks.transpose(2, 0, 1).reshape(ORDER, -1),
    )
