"""LSTMs with constant weights, each packed once for the library that computes it."""

import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

from streamer.codec.cpu.matmul import BlasProduct, Product, as_vectors

_BLOCKS = 8  # blocks of outputs in `RowLSTM`: 2 to 32 take the same time
_LSTM_MODE = 2  # code for an LSTM in torch's oneDNN operator


class PackedLSTM(Protocol):
    """Maps `x: [B, T, C]` and the states `hidden, cell: [B, layers, C]` to outputs `[B, T, C]` and both new states."""

    def __call__(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...


class OneDNNLSTM:
    """LSTM by oneDNN: all frames of a layer in one call, with weights in oneDNN's blocked layout.

    Args:
        layers: the parameters of each, as `lstm_parameters` returns them.
        dtype: of the packed weights.
    """

    def __init__(self, layers: Sequence[Sequence[Tensor]], dtype: torch.dtype = torch.float32) -> None:
        self.size, self.dtype = layers[0][1].shape[1], dtype
        self.run = torch.ops.aten.mkldnn_rnn_layer.default
        self.layers = []
        for parameters in layers:
            weight_ih, weight_hh, bias_ih, bias_hh = (parameter.to(dtype) for parameter in parameters)
            reorder = torch.ops.mkldnn._reorder_mkldnn_rnn_layer_weight.default
            packed_ih, packed_hh = reorder(weight_ih, weight_hh, self.size, False, True, False)
            self.layers.append((packed_ih, packed_hh, bias_ih.clone(), bias_hh.clone()))

    def __call__(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = x.transpose(0, 1).to(self.dtype).contiguous()  # [T, B, C]
        hiddens, cells = [], []
        for layer, weights in enumerate(self.layers):
            h, c = (state[:, layer].unsqueeze(0).to(self.dtype).contiguous() for state in (hidden, cell))  # [1, B, C]
            y, h, c, _ = self.run(y, *weights, h, c, False, [], _LSTM_MODE, self.size, 1, True, False, False, False)
            hiddens.append(h)
            cells.append(c)
        hidden, cell = (torch.cat(states).transpose(0, 1).to(x.dtype) for states in (hiddens, cells))
        return y.transpose(0, 1).to(x.dtype), hidden, cell


class RowLSTM:
    """LSTM for one frame of one stream: one product per layer, with the input and hidden weights side by side.

    With a single row the time goes into reading the weights. MKL reads them a quarter faster in blocks of outputs, as a
    batch of products, than as one product or as matrix by vector.
    """

    def __init__(self, module: nn.LSTM) -> None:
        self.layers = []
        for parameters in lstm_parameters(module):
            weight_ih, weight_hh, bias_ih, bias_hh = (_sigmoids_first(parameter) for parameter in parameters)
            weight = torch.cat((weight_ih, weight_hh), dim=1)  # [4 * C, 2 * C]
            self.layers.append((weight.view(_BLOCKS, -1, weight.shape[1]), (bias_ih + bias_hh).view(_BLOCKS, -1, 1)))

    def __call__(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden, cell, size = hidden.clone(), cell.clone(), x.shape[2]
        y = x[0]  # [1, C]
        for layer, (weight, bias) in enumerate(self.layers):
            row = torch.cat((y, hidden[:, layer]), dim=1)  # [1, 2 * C]
            gates = torch.baddbmm(bias, weight, as_vectors(row).expand(_BLOCKS, -1, 1)).view(1, 4 * size)
            y = _update_cell(gates, cell[:, layer], hidden[:, layer])
        return y.unsqueeze(1), hidden, cell


class HalfLSTM:
    """Float32 LSTM by FBGEMM, with weights that float16 holds exactly, and are kept in: half the bytes to read."""

    def __init__(self, module: nn.LSTM) -> None:
        prepack = torch.ops.quantized.linear_prepack_fp16
        self._weights = [
            (prepack(weight_ih, bias_ih), prepack(weight_hh, bias_hh))
            for weight_ih, weight_hh, bias_ih, bias_hh in lstm_parameters(module)
        ]
        self.layers = [torch.ops.quantized.make_quantized_cell_params_fp16(*weights) for weights in self._weights]

    @torch.inference_mode(False)
    def unpack(self) -> list[list[Tensor]]:
        """Return the parameters of every layer, as `lstm_parameters` does."""
        unpack = torch.ops.quantized.linear_unpack_fp16
        of_layers = [(unpack(from_input), unpack(from_hidden)) for from_input, from_hidden in self._weights]
        return [[weight_ih, weight_hh, bias_ih, bias_hh] for (weight_ih, bias_ih), (weight_hh, bias_hh) in of_layers]

    def __call__(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _quantized_lstm(self.layers, torch.float16, x, hidden, cell)


class DispatchLSTM:
    """LSTM by number of streams: few by `single`, many by oneDNN, which then has to read the weights less often.

    Args:
        single: computes up to `few` streams.
        make_many: returns what computes more. It is called when that is needed: its weights take 17 MB.
        few: number of streams.
    """

    def __init__(self, single: PackedLSTM, make_many: Callable[[], PackedLSTM], few: int = 1) -> None:
        self.single, self._make_many, self.few = single, make_many, few

    @cached_property
    def many(self) -> PackedLSTM:
        """What computes more than `few` streams."""
        with torch.inference_mode(False):
            return self._make_many()

    def __call__(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return (self.single if x.shape[0] <= self.few else self.many)(x, hidden, cell)


class FrameLSTM:
    """LSTM for one stream: single frames by `RowLSTM` (without MKL by `GateLSTM`), all else by oneDNN."""

    def __init__(self, module: nn.LSTM, many: PackedLSTM) -> None:
        has_mkl = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
        self.single: PackedLSTM = RowLSTM(module) if has_mkl else GateLSTM(module, BlasProduct)
        self.many = many

    def __call__(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return (self.single if x.shape[1] == 1 else self.many)(x, hidden, cell)


class Int8LSTM:
    """LSTM by torch's dynamic quantisation: 8-bit weights, and inputs rounded to 8 bits frame by frame."""

    def __init__(self, module: nn.LSTM) -> None:
        self.layers = [
            torch.ops.quantized.make_quantized_cell_params_dynamic(
                _pack_int8(weight_ih, bias_ih), _pack_int8(weight_hh, bias_hh), bias_ih, bias_hh, False
            )
            for weight_ih, weight_hh, bias_ih, bias_hh in lstm_parameters(module)
        ]

    def __call__(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _quantized_lstm(self.layers, torch.qint8, x, hidden, cell)


class GateLSTM:
    """LSTM by matrix products, the fallback: input products for all frames at once, recurrent ones frame by frame."""

    def __init__(self, module: nn.LSTM, product: Callable[[Tensor, Tensor], Product]) -> None:
        self.layers = []
        for parameters in lstm_parameters(module):
            weight_ih, weight_hh, bias_ih, bias_hh = (_sigmoids_first(parameter) for parameter in parameters)
            self.layers.append((product(weight_ih, bias_ih + bias_hh), product(weight_hh, torch.zeros_like(bias_hh))))

    def __call__(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch_size, frames, size = x.shape
        hidden, cell = hidden.clone(), cell.clone()
        y = x.transpose(0, 1)  # [T, B, C]
        for layer, (from_input, from_hidden) in enumerate(self.layers):
            gates = from_input(y.reshape(frames * batch_size, size)).view(frames, batch_size, 4 * size)
            y = x.new_empty(frames, batch_size, size)
            h, c = hidden[:, layer], cell[:, layer]
            for gate, out in zip(gates.unbind(), y.unbind(), strict=True):
                h = _update_cell(from_hidden.add_to(gate, h), c, out)
            hidden[:, layer] = h
        return y.transpose(0, 1), hidden, cell


def _update_cell(gates: Tensor, cell: Tensor, out: Tensor) -> Tensor:
    """Compute one LSTM step.

    Args:
        gates: `[B, 4 * C]`, gate sums before the nonlinearity, in the order of `_sigmoids_first`; overwritten.
        cell: `[B, C]`, the cell state, updated in place.
        out: `[B, C]`, receives the new hidden state, which is also returned.
    """
    size = cell.shape[1]
    sigmoids, candidate = gates.split_with_sizes((3 * size, size), dim=1)
    i, f, o = sigmoids.sigmoid_().chunk(3, dim=1)
    cell.mul_(f).addcmul_(i, candidate.tanh_())
    return torch.tanh(cell, out=out).mul_(o)


def _quantized_lstm(
    layers: list[object], dtype: torch.dtype, x: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Run torch's LSTM with packed weights of that dtype, as `PackedLSTM` does."""
    initial = hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous()  # [layers, B, C] each
    y, hidden, cell = torch.quantized_lstm(
        x.float().transpose(0, 1).contiguous(),  # [T, B, C]
        initial,
        layers,
        has_biases=True,
        num_layers=len(layers),
        dropout=0.0,
        train=False,
        bidirectional=False,
        batch_first=False,
        dtype=dtype,
        use_dynamic=True,
    )
    return y.transpose(0, 1), hidden.transpose(0, 1), cell.transpose(0, 1)


def lstm_parameters(module: nn.LSTM) -> list[list[Tensor]]:
    """Return weight_ih, weight_hh, bias_ih and bias_hh of every layer."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [[getattr(module, f"{name}_l{layer}").detach() for name in names] for layer in range(module.num_layers)]


def _sigmoids_first(parameter: Tensor) -> Tensor:
    """Reorder torch's gates i, f, g, o along dimension 0 to i, f, o, g, so that one call computes three sigmoids."""
    i, f, g, o = parameter.chunk(4)
    return torch.cat((i, f, o, g))


def _pack_int8(weight: Tensor, bias: Tensor) -> object:
    """Quantise `weight: [N, K]` to 8 bits with one scale per output, packed for torch's quantised products."""
    scales = weight.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny) / 127
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*quantized tensor creation functions.* are deprecated")
        quantized = torch.quantize_per_channel(weight.float(), scales.float(), zeros, 0, torch.qint8)
    return torch.ops.quantized.linear_prepack(quantized, bias.float())
