"""Voices of several streams, taken out of the windows of one batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from streamer.codec.device import upload
from streamer.constants import EMBEDDING_DIM


class VoiceShifts:
    """What to take away from the attentive mean of each row's windows, `[B, 128]`, on the model's device.

    Nothing here waits for a GPU. Rows without a shift cost nothing as long as no row in their step has one.

    Args:
        batch_size: number of rows; `grow` adds more.
        device: where pooled windows are.
    """

    def __init__(self, batch_size: int, device: torch.device) -> None:
        self._by = torch.zeros(batch_size, EMBEDDING_DIM, device=device)
        self._rows: set[int] = set()  # that have one

    def set(self, row: int, by: Sequence[float] | None) -> None:
        """Give the row a shift, [128], in place of the one it had; None: no shift."""
        wanted = torch.zeros(EMBEDDING_DIM) if by is None else torch.tensor(by, dtype=torch.float32)
        self._by[row] = upload(wanted, self._by.device)
        (self._rows.discard if by is None else self._rows.add)(row)

    def grow(self, batch_size: int) -> None:
        """Make room for more rows, `batch_size` in all, without a shift."""
        more = batch_size - len(self._by)
        self._by = torch.cat((self._by, self._by.new_zeros(more, EMBEDDING_DIM)))

    def apply(self, pooled: Tensor, rows: Sequence[int]) -> Tensor:
        """The windows `[N, 640]` of these N rows as their voices have them."""
        if self._rows.isdisjoint(rows):
            return pooled
        every = list(rows) == list(range(len(self._by)))
        by = self._by if every else self._by[upload(torch.tensor(list(rows)), self._by.device)]  # [N, 128]
        return take_out(by, pooled)


def take_out(voices: Tensor, pooled: Tensor) -> Tensor:
    """Pooled windows `[N, 640]` without `voices [N, 128]`: the part that is the mean moves."""
    return torch.cat((pooled[:, :EMBEDDING_DIM] - voices, pooled[:, EMBEDDING_DIM:]), dim=1)
