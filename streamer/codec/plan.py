"""Plans: the operations of a streaming step on the CPU for one input shape, with all buffers and views made beforehand.

A step is some sixty short operations. Allocating memory, making views and dispatching for each of them takes as long as
the arithmetic of the narrow layers; a plan does it once per shape. Plans are for pieces without edges, that is all but
the first and the last of a stream, and for a packed encoder.
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

PLANS = 4  # plans that are kept: live audio has one shape, or two where streams are added later

Operation = Callable[[Tensor, Any], Tensor]  # maps a layer's input [B, T, C] and its state to its output


class Arena:
    """Memory that the plans share, one buffer per role. Nothing in it has to survive a step."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, role: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return a tensor in the buffer of `role`, contents undefined.

        A buffer that is too small is replaced; tensors taken earlier keep the old one.
        """
        size = prod(shape) * dtype.itemsize
        if role not in self._buffers or self._buffers[role].numel() < size:
            self._buffers[role] = torch.empty(size, dtype=torch.uint8)
        return self._buffers[role][:size].view(dtype).view(*shape)


class Plans:
    """The most recently used plans of one packed encoder."""

    def __init__(self, model: nn.Sequential) -> None:
        self._model = model
        self._arena = Arena()
        self._plans: OrderedDict[tuple[int, int], Plan] = OrderedDict()

    def __call__(self, x: Tensor, layers: dict[int, LayerState]) -> Tensor:
        """Encode `x: [B, T, 1]`, whole frames without edges, to `[B, F, 128]`; the states are updated in place."""
        shape = x.shape[0], x.shape[1]
        if shape not in self._plans:
            self._plans[shape] = Plan(self._model, *shape, self._arena)
        self._plans.move_to_end(shape)
        if len(self._plans) > PLANS:
            self._plans.popitem(last=False)
        return self._plans[shape](x, layers)


class Plan:
    """The operations of a step for one batch size and length."""

    def __init__(self, model: nn.Sequential, batch_size: int, samples: int, arena: Arena) -> None:
        self._operations: list[tuple[int, Operation]] = []
        last = len(model) - 1
        for index, layer in enumerate(model):
            if isinstance(layer, CausalConv1d):
                # The last output needs memory of its own: the caller keeps it.
                conv = _Conv(layer, batch_size, samples, arena, out=None if index == last else "conv")
                samples = conv.rows
                self._operations.append((index, conv))
            elif isinstance(layer, ResidualBlock):
                self._operations.append((index, _Residual(layer, batch_size, samples, arena)))
            elif isinstance(layer, ResidualLSTM):
                self._operations.append((index, partial(layer, edges=MIDDLE)))

    def __call__(self, x: Tensor, layers: dict[int, LayerState]) -> Tensor:
        for index, operation in self._operations:
            x = operation(x, layers[index])
        return x


def _packed(conv: CausalConv1d) -> PackedConv:
    assert conv.packed is not None, "a plan needs a packed encoder"
    return conv.packed


def _elu(out: Tensor, arena: Arena) -> Elu:
    return Elu(out, arena.take("scratch", out.shape, torch.float32) if out.dtype == torch.bfloat16 else None)


class _Conv:
    """A convolution with its left context, after ELU where the layer has one."""

    def __init__(self, conv: CausalConv1d, batch_size: int, samples: int, arena: Arena, out: str | None) -> None:
        packed = _packed(conv)
        self.dtype = packed.dtype
        self.rows = samples // conv.stride
        # [B, context + T, C_in]: the left context, then the new input
        extended = arena.take("extended", (batch_size, conv.context + samples, conv.in_channels), self.dtype)
        self.context, self.new_input = extended[:, : conv.context], extended[:, conv.context :]
        self.next_context = extended[:, samples:]
        self.elu = _elu(self.new_input, arena) if conv.activated else None
        rows, channels = batch_size * self.rows, conv.conv.conv.out_channels
        self.convolve = packed.bind(extended, None if out is None else arena.take(out, (rows, channels), self.dtype))

    def __call__(self, x: Tensor, state: ConvState) -> Tensor:
        self.context.copy_(state.tail)
        if self.elu:
            self.elu(x)
        else:
            self.new_input.copy_(x)
        state.tail.copy_(self.next_context)
        return self.convolve()


class _Residual:
    """A residual block."""

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
