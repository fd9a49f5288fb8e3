"""The arithmetic of the encoder's layers: which way of doing it is fastest where.

Two sets. Plain torch (`conv1d`, `lstm`) is differentiable, for training and for accelerators. The packed ones are for
inference on the CPU, where a streaming step is so short that plain torch spends most of it on rearranging weights:
nn.LSTM packs its 17 MB in every call, conv1d reorders its weight. There every layer becomes a matrix product with a
weight that was laid out once. In float32 both compute the same and differ by the order of summation only.

Reduced precision is for the packed set alone. `bfloat16` computes every layer in that type. `int8` keeps the weights of
the wide layers and of the LSTM, which hold nearly all parameters, as 8-bit numbers with one scale an output channel,
and rounds their inputs to 8 bits by the range of each call; narrow layers gain nothing from that and are computed in
bfloat16 where the processor has it, else in float32.
"""

from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamer.codec import tryout
from streamer.codec.products import BlasProduct, EitherProduct, Int8Product, OneDNNProduct, Product
from streamer.codec.recurrence import GateLSTM, Int8LSTM, OneDNNLSTM, PackedLSTM

Precision = Literal["float32", "bfloat16", "int8"]

ONEDNN_MIN_WEIGHTS = 2**18  # 1 MiB of float32: reading so large a weight is what a short product costs, even of one row
INT8_MIN_WEIGHTS = 2**15  # below, rounding the inputs costs more than the shorter weights gain


def conv1d(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """`conv` without padding over `x: [B, T, C_in]`: `[B, (T - kernel) / stride + 1, C_out]`."""
    return F.conv1d(x.transpose(1, 2), conv.weight, conv.bias, conv.stride).transpose(1, 2)


def lstm(x: Tensor, hidden: Tensor, cell: Tensor, module: nn.LSTM) -> tuple[Tensor, Tensor, Tensor]:
    """`module` over `x: [B, T, C]` from `hidden, cell: [B, layers, C]`: outputs `[B, T, C]`, and both states after."""
    before = hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous()
    y, (hidden, cell) = module(x.transpose(0, 1), before)
    return y.transpose(0, 1), hidden.transpose(0, 1), cell.transpose(0, 1)


@cache
def supported(precision: Precision) -> bool:
    """Whether this processor gains from that precision, and this build of torch has what it takes."""
    if precision == "bfloat16":
        possible = _processor_has("avx512_bf16", "amx_tile")
        return possible and tryout.onednn_product(torch.bfloat16) and tryout.onednn_lstm(torch.bfloat16)
    if precision == "int8":
        return _processor_has("vnni") and tryout.int8()
    return True


def _processor_has(*features: str) -> bool:
    """Whether torch finds one of these x86 extensions."""
    return any(getattr(torch.cpu, f"_is_{feature}_supported", lambda: False)() for feature in features)


def product(weight: Tensor, bias: Tensor, precision: Precision = "float32") -> Product:
    """The fastest product with `weight: [N, K]` and `bias: [N]`, both copied."""
    if precision == "int8" and weight.numel() >= INT8_MIN_WEIGHTS:
        return Int8Product(weight, bias)
    if precision != "float32" and supported("bfloat16"):
        return OneDNNProduct(weight.bfloat16(), bias.bfloat16())
    if weight.dtype != torch.float32 or not tryout.onednn_product(torch.float32):
        return BlasProduct(weight, bias)
    return OneDNNProduct(weight, bias) if weight.numel() >= ONEDNN_MIN_WEIGHTS else EitherProduct(weight, bias)


def packed_lstm(module: nn.LSTM, precision: Precision = "float32") -> PackedLSTM:
    """The fastest LSTM with the weights of `module`, which are copied."""
    if precision == "int8":
        return Int8LSTM(module)
    dtype = torch.bfloat16 if precision == "bfloat16" else next(module.parameters()).dtype
    works = dtype in (torch.float32, torch.bfloat16) and tryout.onednn_lstm(dtype)
    return OneDNNLSTM(module, dtype) if works else GateLSTM(module, product)


class PackedConv:
    """A convolution as one product over its windows."""

    def __init__(self, conv: nn.Conv1d, precision: Precision = "float32", more_bias: Tensor | None = None) -> None:
        out_channels, in_channels, self.kernel = conv.weight.shape
        self.stride = conv.stride[0]
        assert conv.bias is not None
        # Samples of all channels lie side by side in [B, T, C]; so must the weights: [C_out, kernel, C_in].
        weight = conv.weight.permute(0, 2, 1).reshape(out_channels, self.kernel * in_channels)
        self.product = product(weight, conv.bias if more_bias is None else conv.bias + more_bias, precision)
        self.dtype = self.product.dtype  # of what it takes

    def __call__(self, x: Tensor) -> Tensor:
        """As `conv1d` of this module, over `x: [B, T, C_in]`, in the type of its weights."""
        windows = self.windows(x.to(self.dtype).contiguous())
        y = self.product(windows.reshape(-1, windows.shape[2]))
        return y.view(*windows.shape[:2], y.shape[1])

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        """`y: [B, T, C_out]` and this convolution, of kernel 1, over `x: [B, T, C_in]` without its bias."""
        return self.product.add_to(y.view(-1, y.shape[2]), x.to(self.dtype).reshape(-1, x.shape[2])).view(y.shape)

    def windows(self, x: Tensor) -> Tensor:
        """A view of contiguous `x`, `[B, T', kernel * C_in]`: a window begins every stride * C_in values."""
        batch_size, samples, channels = x.shape
        rows = (samples - self.kernel) // self.stride + 1
        return x.as_strided((batch_size, rows, self.kernel * channels), (x.stride(0), self.stride * channels, 1))
