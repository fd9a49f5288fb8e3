"""Step some of the streams of a batch: the others keep their state, and get zeros."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from streamer.arrays import Samples

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


def rows_of(batch_size: int, mask: Mask | None) -> Rows:
    """Return the numbers [N] of the streams in `mask` [B], or of all of them without one."""
    return np.arange(batch_size) if mask is None else np.flatnonzero(mask)


def step_rows(audio: Samples, batch_size: int, mask: Mask | None, step: Callable[[Rows, Samples], Samples]) -> Samples:
    """Return what `step` makes of the streams in `mask`, zeros for the others, [B, S] float32.

    Args:
        audio: [B, S] float32, S >= 0.
        batch_size: B.
        mask: [B] bool; None: all.
        step: (numbers of the streams [N], their samples [N, S]) → [N, S], called where both are at least 1. The samples
            may be `audio` itself.

    Raises:
        ValueError: `audio` is not [B, S].
    """
    if audio.ndim != 2 or audio.shape[0] != batch_size:
        raise ValueError(f"The audio must be [{batch_size}, S], not {list(audio.shape)}.")
    rows = rows_of(batch_size, mask)
    if audio.size == 0 or len(rows) == 0:
        return np.zeros_like(audio, dtype=np.float32)
    if len(rows) == batch_size:  # nothing to be picked out, and nothing to be put back
        return step(rows, np.asarray(audio, dtype=np.float32))
    out = np.zeros_like(audio, dtype=np.float32)
    out[rows] = step(rows, np.asarray(audio[rows], dtype=np.float32))
    return out
