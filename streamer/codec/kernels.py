"""The arithmetic of the encoder's layers: which way of doing it is fastest where.

Two sets. Plain torch (`conv1d`, `lstm`) is differentiable, for training and for accelerators. The packed ones are for
inference on the CPU, where a streaming step is so short that plain torch spends most of it on rearranging weights:
nn.LSTM packs its 17 MB in every call, conv1d reorders its weight. There every layer becomes a matrix product with a
weight that was laid out once. Both compute the same in full precision and differ by the order of summation only.
"""

import logging
from functools import cache
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Precision = Literal["float32", "bfloat16", "int8"]

log = logging.getLogger(__name__)

ONEDNN_MIN_WEIGHTS = 2**18  # 1 MiB of float32: for smaller weights oneDNN's longer calls cost what its layout gains
ONEDNN_MIN_ROWS = 3  # one or two rows cost the reading of the weight, which BLAS does straight through


def conv1d(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """`conv` without padding over `x: [B, T, C_in]`: `[B, (T - kernel) / stride + 1, C_out]`."""
    return F.conv1d(x.transpose(1, 2), conv.weight, conv.bias, conv.stride).transpose(1, 2)


def lstm(x: Tensor, hidden: Tensor, cell: Tensor, module: nn.LSTM) -> tuple[Tensor, Tensor, Tensor]:
    """`module` over `x: [B, T, C]` from `hidden, cell: [B, layers, C]`: outputs `[B, T, C]`, and both states after."""
    before = hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous()
    y, (hidden, cell) = module(x.transpose(0, 1), before)
    return y.transpose(0, 1), hidden.transpose(0, 1), cell.transpose(0, 1)


class Product(Protocol):
    """`x @ weight.T + bias` for a weight that does not change, over rows `x: [M, K]`, giving `[M, N]`."""

    def __call__(self, x: Tensor) -> Tensor: ...


class BlasProduct:
    """By the BLAS that torch brings: the least overhead, and always there."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = weight.t().contiguous()  # [K, N]
        self.bias = bias.clone()

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight)


class OneDNNProduct:
    """By oneDNN with a weight in its blocked layout: up to twice as fast as BLAS, which is kept for the fewest rows.

    The two operators are those that torch.compile emits for a frozen linear layer. They are not part of torch's public
    interface, so `onednn_packs` tries them out first.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.few_rows = BlasProduct(weight, bias)
        self.weight = torch.ops.mkldnn._reorder_linear_weight.default(weight)
        self.bias = bias.clone()
        self.linear = torch.ops.mkldnn._linear_pointwise.default

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[0] < ONEDNN_MIN_ROWS:
            return self.few_rows(x)
        return self.linear(x, self.weight, self.bias, "none", [], "")  # type: ignore[no-any-return]


@cache
def onednn_packs() -> bool:
    """Whether `OneDNNProduct` works with this build of torch on this machine; tried out on a small product."""
    weight, bias, rows = torch.linspace(-1, 1, 15).reshape(3, 5), torch.ones(3), torch.linspace(0, 1, 20).reshape(4, 5)
    try:
        works = torch.allclose(OneDNNProduct(weight, bias)(rows), BlasProduct(weight, bias)(rows), rtol=1e-5)
    except (AttributeError, RuntimeError, TypeError) as error:  # no such operator, not built in, other arguments
        log.info("oneDNN's packed product does not work here, BLAS takes its place: %s", error)
        return False
    return works


def product(weight: Tensor, bias: Tensor) -> Product:
    """The fastest product with `weight: [N, K]` and `bias: [N]`, both copied."""
    large = weight.numel() >= ONEDNN_MIN_WEIGHTS and weight.dtype == torch.float32
    return OneDNNProduct(weight, bias) if large and onednn_packs() else BlasProduct(weight, bias)


class PackedConv:
    """A convolution as one product over its windows."""

    def __init__(self, conv: nn.Conv1d) -> None:
        out_channels, in_channels, self.kernel = conv.weight.shape
        self.stride = conv.stride[0]
        self.window = self.kernel * in_channels
        assert conv.bias is not None
        # Samples of all channels lie side by side in [B, T, C]; so must the weights: [C_out, kernel, C_in].
        self.product = product(conv.weight.permute(0, 2, 1).reshape(out_channels, self.window), conv.bias)

    def __call__(self, x: Tensor) -> Tensor:
        """As `conv1d` of this module."""
        x = x.contiguous()
        batch_size, samples, channels = x.shape
        rows = (samples - self.kernel) // self.stride + 1
        # A view: a window begins every stride * C values and overlaps the next. For one stream reshape copies nothing.
        windows = x.as_strided((batch_size, rows, self.window), (x.stride(0), self.stride * channels, 1))
        return self.product(windows.reshape(batch_size * rows, self.window)).view(batch_size, rows, -1)


class PackedLSTM:
    """An LSTM, layer by layer: the products with the input for all frames at once, then frame by frame what recurs."""

    def __init__(self, module: nn.LSTM) -> None:
        self.size = module.hidden_size
        self.layers = []
        for layer in range(module.num_layers):
            weight_ih, weight_hh, bias_ih, bias_hh = (
                _sigmoids_first(getattr(module, f"{name}_l{layer}"))
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            self.layers.append((product(weight_ih, bias_ih + bias_hh), product(weight_hh, torch.zeros_like(bias_hh))))

    def __call__(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `lstm` of this module."""
        batch_size, frames, size = x.shape
        hidden, cell = hidden.clone(), cell.clone()
        y = x.transpose(0, 1)  # [T, B, C]
        for layer, (from_input, from_hidden) in enumerate(self.layers):
            gates = from_input(y.reshape(frames * batch_size, size)).view(frames, batch_size, 4 * size)
            y = x.new_empty(frames, batch_size, size)
            h, c = hidden[:, layer], cell[:, layer]
            for gate, out in zip(gates.unbind(), y.unbind(), strict=True):
                gate.add_(from_hidden(h))  # [B, 4 * C]
                sigmoids, candidate = gate.split_with_sizes((3 * size, size), dim=1)
                i, f, o = sigmoids.sigmoid_().chunk(3, dim=1)
                c.mul_(f).addcmul_(i, candidate.tanh_())
                h = torch.tanh(c, out=out).mul_(o)
            hidden[:, layer] = h
        return y.transpose(0, 1), hidden, cell


def _sigmoids_first(parameter: Tensor) -> Tensor:
    """torch's gate order i, f, g, o along dimension 0 as i, f, o, g: one call does the three sigmoids."""
    i, f, g, o = parameter.chunk(4)
    return torch.cat((i, f, o, g))
