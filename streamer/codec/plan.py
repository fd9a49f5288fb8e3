"""Plans: the operations of a streaming step on the CPU for one input shape, with all buffers and views made beforehand.

A step is some sixty short operations. Allocating memory, making views and dispatching for each of them takes as long as
the arithmetic of the narrow layers; a plan does it once per shape. Plans are for pieces without edges, that is all but
the first and the last of a stream, and for a packed encoder.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from streamer.codec.cpu.elu import Elu
from streamer.codec.cpu.pack import PackedConv
from streamer.codec.layers import MIDDLE, CausalConv1d, ConvState, LayerState, ResidualBlock, ResidualLSTM
from streamer.constants import FRAME_SAMPLES

PLANS = 8  # plans that are kept: live audio has two or three, more where the number of streams changes
# Frames, of all streams together, in a block: the first layers' values take 48 x 320 x 32 x 4 bytes = 2 MB. Measured
# with 16 streams: blocks of 16 to 24 frames take longer, for calls and narrow products; 96 are as fast.
BLOCK_FRAMES = 48

Operation = Callable[[Tensor, Any], Tensor]  # maps a layer's input [B, T, C] and its state to its output


class Arena:
    """Memory that the plans share, one buffer per role. Nothing in it has to survive a step.

    Attributes:
        replaced: how many buffers were replaced by larger ones so far.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}
        self.replaced = 0

    def take(self, role: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return a tensor in the buffer of `role`, contents undefined.

        A buffer that is too small is replaced; tensors taken earlier keep the old one.
        """
        size = prod(shape) * dtype.itemsize
        if role not in self._buffers or self._buffers[role].numel() < size:
            self.replaced += role in self._buffers
            self._buffers[role] = torch.empty(size, dtype=torch.uint8)
        return self._buffers[role][:size].view(dtype).view(*shape)


class Plans:
    """The most recently used plans of one packed encoder.

    The convolutions before the LSTM run block by block, so that what one writes is still in a cache when the next reads
    it, and memory does not grow with the step; the LSTM takes the frames of all blocks at once, and reads its weights
    once.
    """

    def __init__(self, model: nn.Sequential) -> None:
        self._lstm_index = next(i for i, layer in enumerate(model) if isinstance(layer, ResidualLSTM))
        self._model = model
        self._arena = Arena()
        self._plans: OrderedDict[tuple[bool, int, int], Plan] = OrderedDict()

    def __call__(self, x: Tensor, layers: dict[int, LayerState]) -> Tensor:
        """Encode `x: [B, T, 1]`, whole frames without edges, to `[B, F, 128]`; the states are updated in place."""
        batch_size, frames = x.shape[0], x.shape[1] // FRAME_SAMPLES
        streams, length = block_shape(batch_size, frames)
        if (streams, length) == (batch_size, frames):
            return self._plan(False, x)(self._plan(True, x)(x, layers), layers)
        latent = None
        for first in range(0, batch_size, streams):
            own = {i: state.narrow(first, streams) for i, state in layers.items() if i < self._lstm_index}
            for begin in range(0, frames, length):
                block = x[first : first + streams, begin * FRAME_SAMPLES : (begin + length) * FRAME_SAMPLES]
                y = self._plan(True, block)(block, own)
                if latent is None:
                    latent = self._arena.take("latent", (batch_size, frames, y.shape[2]), y.dtype)
                latent[first : first + streams, begin : begin + length] = y
        assert latent is not None
        return self._plan(False, x)(latent, layers)

    def _plan(self, front: bool, x: Tensor) -> "Plan":
        """Return the plan for `x: [B, T, 1]` of the layers before the LSTM, or of the others."""
        key = front, x.shape[0], x.shape[1]
        if key not in self._plans:
            end = self._lstm_index
            indices = range(end) if front else range(end, len(self._model))
            length = x.shape[1] if front else x.shape[1] // FRAME_SAMPLES
            replaced = self._arena.replaced
            self._plans[key] = Plan(self._model, indices, x.shape[0], length, self._arena)
            if self._arena.replaced > replaced:  # plans would keep the buffers that were there before
                self._plans = OrderedDict({key: Plan(self._model, indices, x.shape[0], length, self._arena)})
        self._plans.move_to_end(key)
        if len(self._plans) > PLANS:
            self._plans.popitem(last=False)
        return self._plans[key]


def block_shape(batch_size: int, frames: int) -> tuple[int, int]:
    """Return the streams and frames of a block: several short streams, or a part of a long one."""
    if frames > BLOCK_FRAMES:
        return 1, -(-frames // -(-frames // BLOCK_FRAMES))  # parts of equal length
    return min(batch_size, BLOCK_FRAMES // frames), frames


class Plan:
    """The operations of some consecutive layers for one batch size and length."""

    def __init__(
        self, model: nn.Sequential, indices: Sequence[int], batch_size: int, samples: int, arena: Arena
    ) -> None:
        self._operations: list[tuple[int, Operation]] = []
        last = len(model) - 1
        for index in indices:
            layer = model[index]
            if isinstance(layer, CausalConv1d):
                # The last output needs memory of its own: the caller keeps it.
                conv = _Conv(layer, batch_size, samples, arena, out=None if index == last else "conv")
                samples = conv.rows
                self._operations.append((index, conv))
            elif isinstance(layer, ResidualBlock):
                self._operations.append((index, _Residual(layer, batch_size, samples, arena)))
            elif isinstance(layer, ResidualLSTM):
                self._operations.append((index, partial(layer, edges=MIDDLE)))

    def __call__(self, x: Tensor, layers: Mapping[int, LayerState]) -> Tensor:
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
