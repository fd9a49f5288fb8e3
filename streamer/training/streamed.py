"""Recordings through the streaming encoder, as the worker hears them. On the CPU that takes half as long as whole ones."""

import torch
from torch import Tensor

from streamer.codec import Encoder, StreamingEncoder
from streamer.rates import FRAME_RATE, HOP

_STEP = round(0.24 * FRAME_RATE) * HOP  # the monitor's default hop: 18 frames


class StreamedFrames:
    """Levelled audio to frames, several recordings at once.

    Args:
        encoder: whose weights, and whose precision; copied.
        rows: how many recordings at once; more are taken one lot after the other.
    """

    def __init__(self, encoder: Encoder, rows: int) -> None:
        self.rows = rows
        self._encoder = StreamingEncoder(encoder, rows)

    def __call__(self, levelled: Tensor) -> Tensor:
        """`[B, T]` to `[B, 128, ceil(T / 320)]`."""
        return torch.cat([self._stream(lot) for lot in torch.split(levelled, self.rows)])

    def _stream(self, levelled: Tensor) -> Tensor:
        audio = torch.zeros(self.rows, 1, levelled.shape[1])
        audio[: len(levelled), 0] = levelled
        self._encoder.reset()
        frames = [*map(self._encoder.step, torch.split(audio, _STEP, dim=-1)), self._encoder.flush()]
        return torch.cat(frames, dim=-1)[: len(levelled)]
