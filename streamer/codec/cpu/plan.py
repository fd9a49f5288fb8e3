"""A step of fixed shape on the CPU, every buffer and every view of it made beforehand.

A stream's step is some sixty short operations. To allocate for each, to cut views and to find out what to call takes as
long as the narrow layers' arithmetic; here it is done once for a shape. A plan is for pieces without edges, which all
but the first and the last of a stream are, and for a packed encoder.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from streamer.codec.cpu.elu import Elu
from streamer.codec.cpu.pack import PackedConv
from streamer.codec.layers import MIDDLE, CausalConv1d, ConvState, LayerState, ResidualBlock, ResidualLSTM

PLANS = 4  # that are kept: live audio has one shape, or two where streams come late

Operation = Callable[[Tensor, Any], Tensor]  # a layer's input [B, T, C] and its state, to its output


class Arena:
    """Memory that the plans share, one buffer a role. No plan leaves anything there from one step to the next."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, role: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor in the buffer of `role`, contents undefined. A larger buffer leaves earlier tensors what they have."""
        size = prod(shape) * dtype.itemsize
        if role not in self._buffers or self._buffers[role].numel() < size:
            self._buffers[role] = torch.empty(size, dtype=torch.uint8)
        return self._buffers[role][:size].view(dtype).view(*shape)


class Plans:
    """The latest plans of one packed encoder."""

    def __init__(self, model: nn.Sequential) -> None:
        self._model = model
        self._arena = Arena()
        self._plans: OrderedDict[tuple[int, int], Plan] = OrderedDict()

    def __call__(self, x: Tensor, layers: dict[int, LayerState]) -> Tensor:
        """`x: [B, T, 1]`, a piece of whole hops without edges, to `[B, F, 128]`; states are written in place."""
        shape = x.shape[0], x.shape[1]
        if shape not in self._plans:
            self._plans[shape] = Plan(self._model, *shape, self._arena)
        self._plans.move_to_end(shape)
        if len(self._plans) > PLANS:
            self._plans.popitem(last=False)
        return self._plans[shape](x, layers)


class Plan:
    """The operations of one shape."""

    def __init__(self, model: nn.Sequential, batch_size: int, samples: int, arena: Arena) -> None:
        self._operations: list[tuple[int, Operation]] = []
        last = len(model) - 1
        for place, layer in enumerate(model):
            if isinstance(layer, CausalConv1d):
                # Of its own memory, in the end: the caller keeps that.
                conv = _Conv(layer, batch_size, samples, arena, out=None if place == last else "conv")
                samples = conv.rows
                self._operations.append((place, conv))
            elif isinstance(layer, ResidualBlock):
                self._operations.append((place, _Residual(layer, batch_size, samples, arena)))
            elif isinstance(layer, ResidualLSTM):
                self._operations.append((place, partial(layer, edges=MIDDLE)))

    def __call__(self, x: Tensor, layers: dict[int, LayerState]) -> Tensor:
        for place, operation in self._operations:
            x = operation(x, layers[place])
        return x


def _packed(conv: CausalConv1d) -> PackedConv:
    assert conv.packed is not None, "a plan is for a packed encoder"
    return conv.packed


def _elu(out: Tensor, arena: Arena) -> Elu:
    return Elu(out, arena.take("wide", out.shape, torch.float32) if out.dtype == torch.bfloat16 else None)


class _Conv:
    """ELU, where there is one, and a convolution."""

    def __init__(self, conv: CausalConv1d, batch_size: int, samples: int, arena: Arena, out: str | None) -> None:
        packed = _packed(conv)
        self.dtype = packed.dtype
        self.rows = samples // conv.stride
        whole = arena.take("whole", (batch_size, conv.context + samples, conv.in_channels), self.dtype)
        self.before, self.fresh, self.after = whole[:, : conv.context], whole[:, conv.context :], whole[:, samples:]
        self.elu = _elu(self.fresh, arena) if conv.activated else None
        rows, channels = batch_size * self.rows, conv.conv.conv.out_channels
        self.convolve = packed.bind(whole, None if out is None else arena.take(out, (rows, channels), self.dtype))

    def __call__(self, x: Tensor, state: ConvState) -> Tensor:
        self.before.copy_(state.tail)
        if self.elu:
            self.elu(x)
        else:
            self.fresh.copy_(x)
        state.tail.copy_(self.after)
        return self.convolve()


class _Residual:
    """The whole of a residual block."""

    def __init__(self, block: ResidualBlock, batch_size: int, samples: int, arena: Arena) -> None:
        self.conv = _Conv(block.conv, batch_size, samples, arena, out="hidden")
        self.pointwise, self.shortcut = _packed(block.pointwise), _packed(block.shortcut)
        self.channels = block.shortcut.in_channels
        activated = arena.take("activated", (batch_size * samples, self.channels // 2), self.pointwise.dtype)
        self.elu = _elu(activated, arena)
        self.out = arena.take("sum", (batch_size * samples, self.channels), self.shortcut.dtype)

    def __call__(self, x: Tensor, state: ConvState) -> Tensor:
        x = x.to(self.shortcut.dtype)
        hidden = self.elu(self.conv(x, state).flatten(0, 1))  # [B * T, C / 2]
        y = self.shortcut.product(x.view(-1, self.channels), self.out)
        return self.pointwise.product.add_to(y, hidden).view(x.shape)
