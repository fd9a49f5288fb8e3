"""Repair samples that no recording should hold: not finite, far beyond full scale, or integers stored as floats.

One policy for every reader of recordings and pipes: the samples are replaced, counted, and reported in one sentence.
"""

import numpy as np
import numpy.typing as npt

FULL_SCALE = 1.0
LIMIT = 2.0  # 6 dB above full scale: decoders of lossy formats overshoot by less, and float masters do too
_INTEGER_SHARE = 0.25  # of the samples that are not 0: speech as 16-bit integers exceeds the limit nearly always
_LEAST_PEAK = 256.0  # less, and not whole numbers: no integers
_FULL_SCALES = (2**15, 2**23, 2**31)  # of 16, 24 and 32 bits

Block = npt.NDArray[np.float32]  # [n, channels]


class Sanitizer:
    """Repairs float samples block by block, and counts what it changed.

    Attributes:
        non_finite: samples that were NaN or infinite and became 0.
        clipped: samples of blocks that reach beyond ±2 that were clipped to ±1.
        scale: what the samples are divided by, if they are integers stored as floats; else 1.
    """

    def __init__(self) -> None:
        self.non_finite = 0
        self.clipped = 0
        self.scale = 1

    def repair(self, block: Block) -> Block:
        """Return `block`, or a repaired copy where it needs one."""
        if not block.size:
            return block
        if self.scale == 1 and block.max() <= LIMIT and block.min() >= -LIMIT:  # False with a NaN
            return block
        finite = np.isfinite(block)
        self.non_finite += int(np.count_nonzero(~finite))
        repaired: Block = np.where(finite, block, np.float32(0.0))
        if self.scale == 1:
            self.scale = _integer_scale(repaired)
        repaired /= np.float32(self.scale)
        sizes = np.abs(repaired)
        if sizes.max() <= LIMIT:
            return repaired
        self.clipped += int(np.count_nonzero(sizes > FULL_SCALE))
        return np.clip(repaired, -FULL_SCALE, FULL_SCALE, out=repaired)

    @property
    def notice(self) -> str:
        """What was changed, in one sentence; empty where nothing was."""
        changes = []
        if self.non_finite:
            were = "sample was not a finite number" if self.non_finite == 1 else "samples were not finite numbers"
            changes.append(f"{self.non_finite:,} {were} and became 0")
        if self.scale != 1:
            changes.append(f"its float samples are integers and were divided by {self.scale:,}")
        if self.clipped:
            were = "sample was" if self.clipped == 1 else "samples were"
            changes.append(f"{self.clipped:,} {were} far beyond full scale and clipped to ±{FULL_SCALE:g}")
        sentence = "; ".join(changes)
        return sentence[:1].upper() + sentence[1:] + "." if sentence else ""


def _integer_scale(block: Block) -> int:
    """Return the full scale of the integers that `block` holds, or 1 where it holds single stray samples."""
    sizes = np.abs(block[block != 0])
    if np.count_nonzero(sizes > LIMIT) <= _INTEGER_SHARE * len(sizes):
        return 1
    peak = float(sizes.max())
    if peak < _LEAST_PEAK and not np.array_equal(sizes, np.rint(sizes)):
        return 1  # recorded or mixed too loud
    return next((scale for scale in _FULL_SCALES if peak <= scale), 1)
