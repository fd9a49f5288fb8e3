"""Layers of EnCodec's 24 kHz encoder, each able to pause in the middle of a signal and resume.

A layer maps `[B, T, C]` to `[B, T', C']`. Time comes before channels, so that a frame's channels are adjacent in
memory, as the matrix products of the streaming path need them. Given a state, a layer takes one piece of the signal
instead of the whole; `Edges` says whether the piece holds the signal's first and last sample, where EnCodec pads by
reflection. A whole signal is a piece with both edges and no state to keep: the offline path is the streaming path with
fresh state.

Module names follow the encodec package, so that `state_dict` keys are those of its encoder without weight norm.
"""

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamer.codec.cpu import pack
from streamer.codec.cpu.lstm import PackedLSTM
from streamer.codec.precision import Precision


class Edges(NamedTuple):
    """Which ends of the signal a piece holds."""

    first: bool
    last: bool


WHOLE = Edges(first=True, last=True)
START = Edges(first=True, last=False)
MIDDLE = Edges(first=False, last=False)
END = Edges(first=False, last=True)


@dataclass
class ConvState:
    """Left context of a convolution: the last inputs that its next outputs still depend on."""

    tail: Tensor  # [B, kernel - stride, C_in]

    def narrow(self, first: int, count: int) -> "ConvState":
        """Return the state of up to `count` streams from `first` on, in the same memory."""
        return ConvState(self.tail[first : first + count])


@dataclass
class LSTMState:
    """Recurrent state of every layer of the LSTM."""

    hidden: Tensor  # [B, layers, C]
    cell: Tensor  # [B, layers, C]

    def narrow(self, first: int, count: int) -> "LSTMState":
        """Return the state of up to `count` streams from `first` on, in the same memory."""
        return LSTMState(self.hidden[first : first + count], self.cell[first : first + count])


LayerState = ConvState | LSTMState


class _NamedConv(nn.Module):
    """Holds a convolution so that its weight's key is `conv.conv.weight`, as in the encodec package."""

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        self.conv = conv


class CausalConv1d(nn.Module):
    """A causal convolution with kernel - stride inputs of left context; with `activated`, ELU is applied first."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, activated: bool = False
    ) -> None:
        super().__init__()
        self.conv = _NamedConv(nn.Conv1d(in_channels, out_channels, kernel, stride))
        self.in_channels = in_channels
        self.stride = stride
        self.context = kernel - stride
        self.activated = activated
        self.packed: pack.PackedConv | None = None

    def pack(self, precision: Precision, extra_bias: Tensor | None = None) -> None:
        """Copy the weights for inference, see `Encoder.pack`; `extra_bias` is added to the convolution's own bias."""
        self.packed = pack.PackedConv(self.conv.conv, precision, extra_bias)

    def init_state(self, batch_size: int, like: Tensor) -> ConvState:
        return ConvState(like.new_zeros(batch_size, self.context, self.in_channels))

    def forward(self, x: Tensor, state: ConvState | None = None, edges: Edges = WHOLE) -> Tensor:
        """Convolve `[B, T, C_in]` to `[B, ceil(T / stride), C_out]`.

        Without the last edge, T must be a multiple of the stride.
        """
        x = F.elu(x) if self.activated else x
        padding = -x.shape[1] % self.stride if edges.last else 0  # EnCodec completes the last stride
        if edges.first:
            x = reflect(x, self.context, padding)
        else:
            assert state is not None, "only the first piece may come without a state"
            x = reflect(torch.cat((state.tail.to(x.dtype), x), dim=1), 0, padding)
        if state is not None and not edges.last:
            state.tail.copy_(x[:, x.shape[1] - self.context :])
        return self.packed(x) if self.packed else pack.conv1d(x, self.conv.conv)


class ResidualBlock(nn.Module):
    """Computes `shortcut(x) + pointwise(elu(conv(elu(x))))`, with half the channels in between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 2
        conv, pointwise = (
            CausalConv1d(channels, hidden, 3, activated=True),
            CausalConv1d(hidden, channels, 1, activated=True),
        )
        # Identity: the package's ELUs, which count in its keys.
        self.block = nn.Sequential(nn.Identity(), conv, nn.Identity(), pointwise)
        self.shortcut = CausalConv1d(channels, channels, 1)

    @property
    def conv(self) -> CausalConv1d:
        return cast(CausalConv1d, self.block[1])

    @property
    def pointwise(self) -> CausalConv1d:
        return cast(CausalConv1d, self.block[3])

    def pack(self, precision: Precision) -> None:
        """Copy the weights for inference, see `Encoder.pack`."""
        self.conv.pack(precision)
        self.pointwise.pack(precision)
        self.shortcut.pack(precision, extra_bias=self.pointwise.conv.conv.bias)  # both biases of the sum, added once

    def init_state(self, batch_size: int, like: Tensor) -> ConvState:
        return self.conv.init_state(batch_size, like)

    def forward(self, x: Tensor, state: ConvState | None = None, edges: Edges = WHOLE) -> Tensor:
        """Map `[B, T, C]` to `[B, T, C]`."""
        y = self.conv(x, state, edges)  # [B, T, C / 2]
        if self.pointwise.packed:
            return self.pointwise.packed.add_to(self.shortcut(x), F.elu(y))
        return self.shortcut(x) + self.pointwise(y)  # type: ignore[no-any-return]


class ResidualLSTM(nn.Module):
    """Computes `x + lstm(x)`; the LSTM starts from zeros."""

    def __init__(self, channels: int, layers: int = 2) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, layers)
        self.packed: PackedLSTM | None = None

    def pack(self, precision: Precision) -> None:
        """Copy the weights for inference, see `Encoder.pack`."""
        self.packed = pack.packed_lstm(self.lstm, precision)

    def init_state(self, batch_size: int, like: Tensor) -> LSTMState:
        shape = (batch_size, self.lstm.num_layers, self.lstm.hidden_size)
        return LSTMState(like.new_zeros(shape), like.new_zeros(shape))

    def forward(self, x: Tensor, state: LSTMState | None = None, edges: Edges = WHOLE) -> Tensor:
        """Map `[B, T, C]` to `[B, T, C]`."""
        if state is None:
            state = self.init_state(x.shape[0], x)
        if self.packed:
            y, hidden, cell = self.packed(x, state.hidden, state.cell)
        else:
            y, hidden, cell = pack.lstm(x, state.hidden, state.cell, self.lstm)
        if not edges.last:
            state.hidden.copy_(hidden)
            state.cell.copy_(cell)
        return x + y


def reflect(x: Tensor, left: int, right: int) -> Tensor:
    """Pad `x: [B, T, C]` by `left` and `right` mirrored samples, as EnCodec's `pad1d` does.

    Reflecting n samples takes a signal of at least n + 1. Where the signal is shorter, EnCodec first appends zeros and
    removes as many samples from the end after padding.
    """
    if left == right == 0:
        return x
    length = x.shape[1]
    zeros = max(0, max(left, right) + 1 - length)
    lengthened = F.pad(x.transpose(1, 2), (0, zeros))  # [B, C, T + zeros]
    mirrored = F.pad(lengthened, (left, right), mode="reflect")
    return mirrored[..., : left + length + right].transpose(1, 2)
