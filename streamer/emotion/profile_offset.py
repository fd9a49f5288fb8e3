"""Voice profiles of several streams, subtracted from the pooled windows of one batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from streamer.codec.device import upload
from streamer.constants import EMBEDDING_DIM


class ProfileOffsets:
    """What is subtracted from the attentive mean of each row's windows: `[B, 128]`, on the model's device.

    Nothing here waits for a GPU. Rows without an offset cost nothing as long as no row in their step has one.

    Args:
        batch_size: number of rows; `grow` adds more.
        device: where pooled windows are.
    """

    def __init__(self, batch_size: int, device: torch.device) -> None:
        self._offsets = torch.zeros(batch_size, EMBEDDING_DIM, device=device)
        self._rows: set[int] = set()  # that have one

    def set(self, row: int, offset: Sequence[float] | None) -> None:
        """Replace the offset of `row`, [128]; None: no offset."""
        values = torch.zeros(EMBEDDING_DIM) if offset is None else torch.tensor(offset, dtype=torch.float32)
        self._offsets[row] = upload(values, self._offsets.device)
        (self._rows.discard if offset is None else self._rows.add)(row)

    def grow(self, batch_size: int) -> None:
        """Make room for more rows, `batch_size` in all, without an offset."""
        more = batch_size - len(self._offsets)
        self._offsets = torch.cat((self._offsets, self._offsets.new_zeros(more, EMBEDDING_DIM)))

    def apply(self, pooled: Tensor, rows: Sequence[int]) -> Tensor:
        """Return the pooled windows `[N, 640]` of these N rows with their offsets subtracted."""
        if self._rows.isdisjoint(rows):
            return pooled
        offsets = self._offsets  # [B, 128]
        if list(rows) != list(range(len(offsets))):
            offsets = offsets[upload(torch.tensor(list(rows)), offsets.device)]  # [N, 128]
        return subtract_offsets(pooled, offsets)


def subtract_offsets(pooled: Tensor, offsets: Tensor) -> Tensor:
    """Subtract `offsets [N, 128]` from the means in pooled windows `[N, 640]`; deviations and movements stay."""
    return torch.cat((pooled[:, :EMBEDDING_DIM] - offsets, pooled[:, EMBEDDING_DIM:]), dim=1)
