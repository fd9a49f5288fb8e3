"""The encoder's layers from a cut on, for training on the CPU: matrix products, and rows of a batch in threads.

oneDNN's convolutions and its LSTM reach half the speed of its matrix products in training, and a barrier after every
operation keeps two cores far from twice the speed of one. So a batch is cut into parts, each of which one thread takes
through all layers, forwards and backwards; the longest rows are one part, so that short ones are not padded to them.
What is drawn at random is drawn for the whole batch: nothing depends on the number of threads but the order of sums.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamer.codec import Encoder
from streamer.codec.layers import CausalConv1d, ResidualBlock, ResidualLSTM
from streamer.training.lstm import gates_for_training, lstm_layer
from streamer.training.threads import map_in_threads, workers

_PART_ROWS = 8  # at least: with fewer, the recurrent products take as long
_LEAST_FRAMES = 8  # of a part: the reflected edge needs as many


@dataclass(frozen=True)
class _Input:
    """What one thread computes with, besides weights."""

    features: Tensor  # [b, F, D]
    kept: Tensor | None  # [b, F, C] factors of dropout between the LSTM's layers
    start: Tensor  # [L, 2, b, C] state of the LSTM's L layers before the first frame: hidden values, and cells
    lengths: Tensor  # [b]


_Run = Callable[[_Input, Sequence[Tensor]], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class _Rows:
    """Rows of a batch that one thread computes, as far as they are real."""

    rows: Tensor  # [b] places in the batch
    frames: int


def upper_layers_in_threads(
    encoder: Encoder, features: Tensor, begin: int, start: Tensor, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the frames `[B, 128, F]`, float32, for the input `[B, F, D]` of layer `begin`; differentiable.

    And the LSTM's state after each row's last frame that counts, like `start`.

    Args:
        encoder: its weights are used, in the dtype of `features`.
        features: on the CPU, float32 or bfloat16.
        begin: a key of `encoder_parts.STEM_DIMS`.
        start: `[L, 2, B, C]` float32, hidden values and cells of the LSTM's L layers before the first frame.
        lengths: `[B]` frames of each row that count; only the edge of a row with fewer than seven mirrors what lies
            beyond. None: all.
    """
    layers = list(encoder.model)[begin:]
    weights = [weight.to(features.dtype) for weight in _weights_of(layers)]
    lstm = next(layer.lstm for layer in layers if isinstance(layer, ResidualLSTM))
    kept = None  # [B, F, C] of the LSTM's first layer
    if lstm.training and lstm.dropout:
        shape = (*features.shape[:2], lstm.hidden_size)
        kept = torch.empty(shape, dtype=features.dtype).bernoulli_(1 - lstm.dropout).div_(1 - lstm.dropout)
    run, parts = partial(_run, layers), _cut(features.shape[0], features.shape[1], lengths)
    counts = torch.full(features.shape[:1], features.shape[1]) if lengths is None else lengths
    whole = _Input(features, kept, start, counts)
    return cast(tuple[Tensor, Tensor], _InThreads.apply(run, parts, whole, features, *weights))  # type: ignore[no-untyped-call]


def _cut(rows: int, frames: int, lengths: Tensor | None) -> list[_Rows]:
    """Cut a batch into parts of about the same work."""
    count = max(1, min(workers(), rows // _PART_ROWS))
    if lengths is None:
        return [_Rows(part, frames) for part in torch.arange(rows).tensor_split(count)]
    order = lengths.argsort(descending=True, stable=True)
    ends = (lengths[order].cumsum(0) * count / lengths.sum()).ceil()
    parts = [order[ends == number] for number in range(1, count + 1)]
    return [_Rows(part, min(frames, max(_LEAST_FRAMES, int(lengths[part[0]])))) for part in parts if len(part)]


class _InThreads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, run: _Run, parts: list[_Rows], whole: _Input, features: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        differentiable = any(ctx.needs_input_grad)
        of_input, of_weights = ctx.needs_input_grad[3], ctx.needs_input_grad[4:]

        def forwards(part: _Rows) -> tuple[Tensor, Tensor, list[Tensor]]:
            rows, kept = part.rows, whole.kept
            with torch.set_grad_enabled(differentiable):
                x = features[rows, : part.frames].requires_grad_(of_input)
                leaves = [one.detach().requires_grad_(wanted) for one, wanted in zip(weights, of_weights, strict=True)]
                dropped = None if kept is None else kept[rows, : part.frames]
                frames, end = run(_Input(x, dropped, whole.start[:, :, rows], whole.lengths[rows]), leaves)
                return frames, end, [x, *leaves]

        outputs = map_in_threads(forwards, parts)
        ctx.parts, ctx.inputs = parts, features.shape
        ctx.outputs = [(frames, leaves) for frames, _, leaves in outputs] if differentiable else None
        whole_frames = outputs[0][0].new_zeros(len(features), outputs[0][0].shape[1], features.shape[1])
        ends = torch.empty_like(whole.start)
        for part, (frames, end, _) in zip(parts, outputs, strict=True):
            whole_frames[part.rows, :, : part.frames] = frames.detach()
            ends[:, :, part.rows] = end
        ctx.mark_non_differentiable(ends)
        return whole_frames, ends

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Any, ...]:
        outputs, ctx.outputs = ctx.outputs, None

        def backwards(item: tuple[_Rows, tuple[Tensor, list[Tensor]]]) -> list[Tensor]:
            part, (frames, leaves) = item
            wanted = [leaf for leaf in leaves if leaf.requires_grad]
            return list(torch.autograd.grad(frames, wanted, gradient[part.rows, :, : part.frames]))

        found = map_in_threads(backwards, list(zip(ctx.parts, outputs, strict=True)))
        of_features = None
        if ctx.needs_input_grad[3]:
            of_features = found[0][0].new_zeros(ctx.inputs)
            for part, gradients in zip(ctx.parts, found, strict=True):
                of_features[part.rows, : part.frames] = gradients.pop(0)
        sums = iter([_sum(of_weight) for of_weight in zip(*found, strict=True)])
        return None, None, None, of_features, *(next(sums) if wanted else None for wanted in ctx.needs_input_grad[4:])


def _sum(gradients: Sequence[Tensor]) -> Tensor:
    """Sum the parts' gradients of one weight in float32."""
    total = gradients[0].float()
    for gradient in gradients[1:]:
        total = total + gradient
    return total.to(gradients[0].dtype)


def _weights_of(layers: Sequence[nn.Module]) -> list[Tensor]:
    """Return the weights as `_run` takes them off, differentiable: matrices for products of rows."""
    weights: list[Tensor] = []
    for layer in layers:
        if isinstance(layer, ResidualBlock):
            conv, pointwise, shortcut = (one.conv.conv for one in (layer.conv, layer.pointwise, layer.shortcut))
            weights += [conv.weight.transpose(1, 2).flatten(1), _bias(conv)]
            weights += [shortcut.weight[:, :, 0], _bias(shortcut) + _bias(pointwise), pointwise.weight[:, :, 0]]
        elif isinstance(layer, ResidualLSTM):
            for number in range(layer.lstm.num_layers):
                of_input, of_hidden, bias, other = (
                    getattr(layer.lstm, f"{name}_l{number}")
                    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                )
                weights += [gates_for_training(one) for one in (of_input, of_hidden, bias + other)]
        elif isinstance(layer, CausalConv1d):
            conv = layer.conv.conv
            weights += [_blocks(conv.weight, layer.stride) if layer.stride > 1 else conv.weight, _bias(conv)]
    return weights


def _bias(conv: nn.Conv1d) -> Tensor:
    assert conv.bias is not None
    return conv.bias


def _blocks(weight: Tensor, stride: int) -> Tensor:
    """Lay out a kernel of two strides `[C_out, C_in, 2 x stride]` as `[2 x C_out, stride x C_in]`."""
    return torch.cat([half.transpose(1, 2).flatten(1) for half in torch.split(weight, stride, dim=2)])


def _run(layers: Sequence[nn.Module], part: _Input, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Map `[b, F, D]` to `[b, 128, F]`, float32, and to the LSTM's state at the end `[L, 2, b, C]`."""
    left, x, end = list(weights), part.features, part.start
    for layer in layers:
        if isinstance(layer, ResidualBlock):
            x = x.reshape(len(x), -1, layer.shortcut.in_channels)
            x = _residual(x, *(left.pop(0) for _ in range(5)))
        elif isinstance(layer, ResidualLSTM):
            of_layers = [[left.pop(0) for _ in range(3)] for _ in range(layer.lstm.num_layers)]
            x, end = _residual_lstm(x, part, of_layers)
        elif isinstance(layer, CausalConv1d) and layer.stride > 1:
            x = _strided(x, layer.stride, left.pop(0), left.pop(0))
        elif isinstance(layer, CausalConv1d):
            x = F.conv1d(_reflect(x, layer.context).transpose(1, 2), left.pop(0), left.pop(0)).transpose(1, 2)
        else:
            x = F.elu(x)
    return x.transpose(1, 2).float(), end


def _residual(x: Tensor, conv: Tensor, conv_bias: Tensor, shortcut: Tensor, bias: Tensor, pointwise: Tensor) -> Tensor:
    steps = x.shape[1]
    padded = _reflect(F.elu(x), 2)
    y = F.elu(F.linear(torch.cat([padded[:, tap : tap + steps] for tap in range(3)], dim=2), conv, conv_bias))
    total = F.linear(x, shortcut, bias)
    total.view(-1, total.shape[2]).addmm_(y.view(-1, y.shape[2]), pointwise.t())
    return total


def _strided(x: Tensor, stride: int, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve `[b, T, C]` with a kernel of two strides: both halves in one product of whole strides."""
    strides = _reflect(x, stride).reshape(len(x), -1, stride * x.shape[2])  # [b, T / stride + 1, stride x C]
    earlier, later = F.linear(strides, weight).chunk(2, dim=2)
    return earlier[:, :-1] + later[:, 1:] + bias


def _residual_lstm(x: Tensor, part: _Input, weights: Sequence[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
    x = y = x.transpose(0, 1).contiguous()  # [F, b, C]
    ends = []
    for number, (of_input, of_hidden, bias) in enumerate(weights):
        if number and part.kept is not None:
            y = y * part.kept.transpose(0, 1)
        y, end = lstm_layer(y, of_input, of_hidden, bias, part.start[number], part.lengths)
        ends.append(end)
    return (x + y).transpose(0, 1), torch.stack(ends)


def _reflect(x: Tensor, context: int) -> Tensor:
    """Put `context` steps before `[b, T, C]`, T > context, mirrored at the first."""
    return torch.cat([x[:, 1 : context + 1].flip(1), x], dim=1)
