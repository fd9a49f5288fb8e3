"""The blocks of audio in which rows pass through the front end and the encoder together."""

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from streamer.arrays import Samples
from streamer.constants import FRAME_SAMPLES

# Frames of all rows together that pass through the model at once, where there are more than a hop of each: memory grows
# neither with the rows that are behind nor with how far.
STEP_FRAMES = 288


def cuts(audio: Mapping[int, Samples], hop: int) -> Iterator[tuple[list[int], int, int]]:
    """Yield the steps that rows with different numbers of samples share: the rows, and their samples [begin, end).

    Cut at every length that occurs, each step takes all rows that reach so far. There are as few frames one after
    another as the longest row has: for an encoder that reads all its weights for every frame, a row that is late costs
    hardly more than the others. What is longer than a hop of `hop` samples is cut at whole hops into steps of up to
    `STEP_FRAMES`.
    """
    begin = 0
    for end in sorted({len(samples) for samples in audio.values()} - {0}):
        rows = [row for row, samples in audio.items() if len(samples) >= end]
        most = max(1, STEP_FRAMES * FRAME_SAMPLES // (hop * len(rows))) * hop
        for first in range(begin, end, most):
            yield rows, first, min(first + most, end)
        begin = end


def stack(audio: Mapping[int, Samples], rows: Collection[int], begin: int, end: int, capacity: int) -> Samples:
    """Return the samples [begin, end) of `rows` as a block `[capacity, end - begin]`, zeros where a row has no part."""
    block = np.zeros((capacity, end - begin), dtype=np.float32)
    for row in rows:
        block[row] = audio[row][begin:end]
    return block


def mask_of(rows: Collection[int], capacity: int) -> Tensor:
    """Return which of `capacity` rows take part, `[capacity]`."""
    mask = torch.zeros(capacity, dtype=torch.bool)
    mask[list(rows)] = True
    return mask
