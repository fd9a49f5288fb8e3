"""A causal level normaliser: brings speech to one level before the encoder, which does not normalise by itself.

Microphones differ by 40 dB in gain, and the embeddings of quiet speech differ from those of the same speech when loud.
The same law runs in the worker, in training and in evaluation, so a model never gets a level that it was not trained
on.

The law, per stream, over blocks of 320 samples (one encoder frame) counted from the stream's first sample:

1. A block's power P is the mean of its squared samples.
2. The noise floor F follows the smallest powers: down at once, up by at most 6 dB a second, never below -75 dBFS. It
   begins at -40 dBFS, so the noise before the first word is a floor from its first block on and not raised.
3. A block is *audible* where P > F + 6 dB (so never below -69 dBFS: the absolute gate), and *active* where also
   P > A - 20 dB (the relative gate), A being the estimate so far. Stationary noise and silence are not audible.
4. A, the power of active speech, is the mean of the active blocks' P: cumulative at first (fast start), exponential
   with a memory of 4 s of active speech afterwards (the mean's weight is 1 / min(n, 300)), so that loud and soft
   within an utterance survive. Power rises faster than it falls in such a mean: attack is about three times release.
5. A block more than 12 dB above A does not belong to what A was estimated from (noise before the speech, another
   speaker): the mean restarts with it. So it does after 2 s of audible blocks without an active one between them: a
   slammed door cannot keep a quiet speaker out. Otherwise A holds.
6. The wanted gain is 0.05 / sqrt(A), between -20 and +40 dB. The gain goes there at once when it falls and by at most
   60 dB a second when it rises: the soft onset of a word must not open it for the vowel that follows.
7. Before the first active block there is no estimate: the gain is 0 dB, which can neither explode nor lose anything.
   Looking at the block itself first would cost a block of delay. After the first active block the gain jumps to the
   wanted one, up or down: with a slower approach, the level of the first syllables would depend on the microphone's
   gain.

The gain that follows from the blocks before block i is reached at the end of block i, linearly from the gain before;
the gain that follows from the first active block holds from the beginning of the next block on. So each sample's gain
depends on the past only, there is no latency, and chunking the stream differently changes no sample by more than
rounding. Samples outside [-1, 1] are clipped, and samples that are not finite become 0, because one would stay in the
encoder's state for ever.

The shape of the law (gated mean power with an absolute and a relative gate) is that of ITU-T P.56 and EBU R 128.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamer.arrays import Float64Array, Samples
from streamer.audio.rows import Mask, Rows, rows_of, step_rows
from streamer.constants import FRAME_SAMPLES, SAMPLE_RATE

_Counts = npt.NDArray[np.int64]

LEVEL_VERSION = 2  # of the law above; a checkpoint's card names the version it was trained with
TARGET_RMS = 0.05  # -26 dBFS: the level that the bundled encoder was trained on
BLOCK = FRAME_SAMPLES  # 320 samples = 13.3 ms
BLOCK_S = BLOCK / SAMPLE_RATE
MEMORY_BLOCKS = 300  # 4 s of active speech / 13.3 ms

_FLOOR_MIN = 10 ** (-75 / 10)
_FLOOR_START = 10 ** (-40 / 10)
_FLOOR_RISE = 10 ** (6 * BLOCK_S / 10)  # 6 dB a second
_AUDIBLE_ABOVE_FLOOR = 10 ** (6 / 10)
_ACTIVE_BELOW_SPEECH = 10 ** (-20 / 10)
_RESTART_ABOVE_SPEECH = 10 ** (12 / 10)
_MISSED_MAX = 150  # 2 s / 13.3 ms
_GAIN_MIN_DB, _GAIN_MAX_DB = -20.0, 40.0
_RISE_DB = 60 * BLOCK_S  # 60 dB a second = 0.8 dB a block
_RAMP = (np.arange(BLOCK) / BLOCK).astype(np.float32)  # [320] share of the way from a block's first gain to its last


@dataclass
class LevelState:
    """State of the normaliser for each stream; every array is [B]."""

    gain_db: Float64Array  # reached at the end of the current block
    previous_gain_db: Float64Array  # at the beginning of the current block
    speech_power: Float64Array  # A; meaningless while `active_blocks` is 0
    active_blocks: _Counts  # n: how many blocks are in A, up to MEMORY_BLOCKS
    missed_blocks: _Counts  # audible blocks since the last active one
    floor: Float64Array  # F
    energy: Float64Array  # sum of squares of the current block so far
    filled: _Counts  # samples of the current block so far, 0 to 319

    @classmethod
    def fresh(cls, batch_size: int) -> "LevelState":
        """Return the state before the first sample."""
        return cls(
            gain_db=np.zeros(batch_size),
            previous_gain_db=np.zeros(batch_size),
            speech_power=np.full(batch_size, TARGET_RMS**2),
            active_blocks=np.zeros(batch_size, dtype=np.int64),
            missed_blocks=np.zeros(batch_size, dtype=np.int64),
            floor=np.full(batch_size, _FLOOR_START),
            energy=np.zeros(batch_size),
            filled=np.zeros(batch_size, dtype=np.int64),
        )

    def take(self, streams: Rows) -> "LevelState":
        """Return a copy of the state of `streams` [N]."""
        return LevelState(**{name: values[streams] for name, values in vars(self).items()})

    def put(self, streams: Rows, state: "LevelState") -> None:
        """Overwrite the state of `streams` [N] with `state`."""
        for name, values in vars(state).items():
            getattr(self, name)[streams] = values


class LevelNormalizer:
    """Normalises streams of 24 kHz mono audio, each to RMS 0.05 of active speech. See the module for the law."""

    def __init__(self, batch_size: int = 1) -> None:
        if batch_size < 1:
            raise ValueError(f"A level normaliser needs at least one stream, not {batch_size}.")
        self.batch_size = batch_size
        self.state = LevelState.fresh(batch_size)

    @property
    def gain_db(self) -> Float64Array:
        """[B] gain at the end of each stream's current block, in dB; a copy."""
        return self.state.gain_db.copy()

    def reset(self, mask: Mask | None = None) -> None:
        """Reset the streams in `mask` [B], or all of them without one."""
        rows = rows_of(self.batch_size, mask)
        self.state.put(rows, LevelState.fresh(len(rows)))

    def grow(self, batch_size: int) -> None:
        """Make room for more streams, `batch_size` in all: the new ones are fresh, the others stay as they are.

        Raises:
            ValueError: there are more streams than that already.
        """
        if batch_size < self.batch_size:
            raise ValueError(f"There are {self.batch_size} streams already, and a batch only grows; not {batch_size}.")
        grown = LevelState.fresh(batch_size)
        grown.put(np.arange(self.batch_size), self.state)
        self.batch_size, self.state = batch_size, grown

    def step(self, audio: Samples, mask: Mask | None = None) -> Samples:
        """Normalise the next samples of every stream.

        Args:
            audio: [B, S] float32, S >= 0.
            mask: [B] bool; a stream outside it keeps its state untouched and gets zeros.

        Returns:
            [B, S] float32 in [-1, 1].

        Raises:
            ValueError: `audio` is not [B, S].
        """
        return step_rows(audio, self.batch_size, mask, self._step)

    def _step(self, rows: Rows, samples: Samples) -> Samples:
        state = self.state.take(rows)
        levelled = _apply_gain(state, samples)
        self.state.put(rows, state)
        return levelled


def _apply_gain(state: LevelState, samples: Samples) -> Samples:
    """Place each row of `samples` [B, S] on its own grid of blocks, apply the law block by block, return [B, S]."""
    rows, length = samples.shape
    aligned = length % BLOCK == 0 and not state.filled.any()
    columns = None if aligned else state.filled[:, None] + np.arange(length)  # [B, S] where each sample lies
    grid = _on_grid(samples, columns)  # [B, K, 320]
    energies = _energies(grid)  # [B, K]
    if not np.isfinite(energies.sum()):
        samples = np.where(np.isfinite(samples), samples, np.float32(0))
        grid = _on_grid(samples, columns)
        energies = _energies(grid)
    energies[:, 0] += state.energy
    ends = state.filled + length  # [B]
    complete = ends // BLOCK

    gains = np.ones((rows, energies.shape[1] + 1, 2), dtype=np.float32)  # at the beginning and at the end of each block
    for row, powers in enumerate((energies / BLOCK).tolist()):
        gains[row, : complete[row] + 1] = _follow(state, row, powers[: complete[row]])
    gains = gains[:, : energies.shape[1]]

    state.filled = ends % BLOCK
    open_block = np.minimum(complete, energies.shape[1] - 1)  # the block that is not complete, if there is one
    state.energy = np.where(state.filled, energies[np.arange(rows), open_block], 0.0)
    ramps = (gains[..., 1:] - gains[..., :1]) * _RAMP  # [B, K, 320]
    ramps += gains[..., :1]
    if columns is None:
        ramps *= grid
        out: Samples = ramps.reshape(rows, length)
    else:
        out = samples * np.take_along_axis(ramps.reshape(rows, -1), columns, axis=1)
    np.minimum(np.maximum(out, -1, out=out), 1, out=out)  # a third of the time of numpy's clip
    return out


def _energies(grid: Samples) -> Float64Array:
    """Return the sum of the squares of each block, [B, K], of [B, K, 320]."""
    exact = grid.astype(np.float64)
    return np.asarray(np.einsum("bkt,bkt->bk", exact, exact))


def _on_grid(samples: Samples, columns: _Counts | None) -> Samples:
    """Return `samples` [B, S] in their blocks, [B, K, 320], at the places `columns` [B, S]; as they are, if None."""
    if columns is None:
        return samples.reshape(len(samples), -1, BLOCK)
    blocks = -(-int(columns[:, -1].max() + 1) // BLOCK)
    grid = np.zeros((len(samples), blocks * BLOCK), dtype=np.float32)
    np.put_along_axis(grid, columns, samples, axis=1)
    return grid.reshape(len(samples), blocks, BLOCK)


def _follow(state: LevelState, row: int, powers: list[float]) -> list[tuple[float, float]]:
    """Update `state` of one row by the complete blocks of `powers`.

    Block by block in plain Python: numpy takes longer for up to thirty rows, and most blocks change little.

    Returns:
        The gains at the beginning and at the end of each of these blocks, and of the one after them.
    """
    floor, speech = float(state.floor[row]), float(state.speech_power[row])
    count, missed = int(state.active_blocks[row]), int(state.missed_blocks[row])
    before_db, gain_db = float(state.previous_gain_db[row]), float(state.gain_db[row])
    before, gain = _linear(before_db), _linear(gain_db)
    target_db = _target_db(speech)
    gains = [(before, gain)]
    for power in powers:
        audible = power > floor * _AUDIBLE_ABOVE_FLOOR
        floor = max(min(power, floor * _FLOOR_RISE), _FLOOR_MIN)
        jump = False
        if audible:
            unknown = count == 0 or missed >= _MISSED_MAX
            if unknown or power > speech * _ACTIVE_BELOW_SPEECH:
                restart = unknown or power > speech * _RESTART_ABOVE_SPEECH
                jump = count == 0
                count = 1 if restart else min(count + 1, MEMORY_BLOCKS)
                speech += (power - speech) / count
                missed = 0
                target_db = _target_db(speech)
            else:
                missed += 1
        before_db, before = gain_db, gain
        if count > 0:
            gain_db = target_db if jump else min(target_db, gain_db + _RISE_DB)
            if gain_db != before_db:
                gain = _linear(gain_db)
            if jump:
                before_db, before = gain_db, gain
        gains.append((before, gain))
    state.floor[row], state.speech_power[row] = floor, speech
    state.active_blocks[row], state.missed_blocks[row] = count, missed
    state.previous_gain_db[row], state.gain_db[row] = before_db, gain_db
    return gains


def _linear(gain_db: float) -> float:
    return float(10 ** (gain_db / 20))


def _target_db(power: float) -> float:
    """Return the gain that brings audio of that power to the target, within the limits."""
    return min(max(20 * math.log10(TARGET_RMS) - 10 * math.log10(power), _GAIN_MIN_DB), _GAIN_MAX_DB)
