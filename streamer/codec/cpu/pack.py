"""The arithmetic of the encoder's layers: which way of doing it is fastest where.

Two sets. Plain torch (`conv1d`, `lstm`) is differentiable, for training and for accelerators. The packed ones are for
inference on the CPU, where a streaming step is so short that plain torch spends most of it on rearranging weights:
nn.LSTM packs its 17 MB in every call, conv1d reorders its weight. There every layer becomes a matrix product with a
weight that was laid out once. In float32 both compute the same and differ by the order of summation only.

Reduced precision is for the packed set alone. `bfloat16` computes every layer in that type. `int8` keeps the weights of
the LSTM, more than half of all, as 8-bit numbers with one scale for each output, and rounds its inputs to 8 bits frame by
frame; the convolutions are computed in bfloat16 where the processor has it, else in float32. (8 bits for the largest
convolutions too were measured: 5 % faster, but frames off by 1.1 % instead of 0.3 %; for the others off by 22 %.)
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamer.codec.cpu import selftest
from streamer.codec.cpu.lstm import EitherLSTM, GateLSTM, Int8LSTM, OneDNNLSTM, PackedLSTM
from streamer.codec.cpu.matmul import (
    BlasProduct,
    LargeProduct,
    OneDNNConv,
    OneDNNProduct,
    Product,
    as_image,
)
from streamer.errors import UsageError

Precision = Literal["float32", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

LARGE_WEIGHTS = (
    300_000  # 1.2 MB of float32, more than a core's own cache: read anew for every product, whatever its rows
)
CONVOLUTION_MIN_WORK = 3_000_000  # multiplications; oneDNN's calls take 15 us longer than those of BLAS
PIECES_MAX_WORK = 10_000_000  # multiplications; from there on oneDNN is faster than BLAS by more than its call takes
MOST_PIECES = 3  # of a kernel: more make the products too narrow


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
        return possible and selftest.onednn_product(torch.bfloat16) and selftest.onednn_lstm(torch.bfloat16)
    if precision == "int8":
        return _processor_has("vnni") and selftest.int8_lstm()
    return True


def check_supported(precision: Precision, device: str) -> None:
    """Refuses a precision that would be slower on `device` ("cpu", "cuda", "mps") and less exact too.

    Raises:
        UsageError: says which it is, and what to take instead.
    """
    on_accelerator = device != "cpu" and precision == "bfloat16"
    if precision == "float32" or on_accelerator or (device == "cpu" and supported(precision)):
        return
    if device == "cpu":
        feature = {"bfloat16": "AVX512-BF16 or AMX", "int8": "VNNI"}[precision]
        others = [p for p in PRECISIONS if supported(p)]
        raise UsageError(
            f"model.precision = {precision!r}: this processor (or this build of torch) has no {feature}, without which "
            f"that is slower; use {' or '.join(others)}."
        )
    raise UsageError(
        f"model.precision = {precision!r}: that is for the CPU, not for {device}; use bfloat16 or float32 there."
    )


def _processor_has(*features: str) -> bool:
    """Whether torch finds one of these x86 extensions."""
    return any(getattr(torch.cpu, f"_is_{feature}_supported", lambda: False)() for feature in features)


def product(weight: Tensor, bias: Tensor, precision: Precision = "float32") -> Product:
    """The fastest product with `weight: [N, K]` and `bias: [N]`, both copied."""
    if precision != "float32" and supported("bfloat16"):
        return OneDNNProduct(weight.bfloat16(), bias.bfloat16())
    if weight.dtype != torch.float32 or not selftest.onednn_product(torch.float32):
        return BlasProduct(weight, bias)
    return LargeProduct(weight, bias) if weight.numel() >= LARGE_WEIGHTS else BlasProduct(weight, bias)


def packed_lstm(module: nn.LSTM, precision: Precision = "float32") -> PackedLSTM:
    """The fastest LSTM with the weights of `module`, which are copied."""
    if precision == "int8":
        return Int8LSTM(module)
    dtype = torch.bfloat16 if precision == "bfloat16" else next(module.parameters()).dtype
    if dtype not in (torch.float32, torch.bfloat16) or not selftest.onednn_lstm(dtype):
        return GateLSTM(module, product)
    return EitherLSTM(module) if dtype == torch.float32 else OneDNNLSTM(module, dtype)


class PackedConv:
    """A convolution as products with a weight that was laid out once, or by oneDNN's own.

    Of one stream, a kernel as long as two or three strides is cut into pieces of a stride: each is a product over the
    signal as it lies there, and they add up. A window would overlap the next and have to be copied, as those of several
    streams and of other kernels are. Where there is more work oneDNN's convolution is faster, for several streams sooner.
    """

    def __init__(self, conv: nn.Conv1d, precision: Precision = "float32", more_bias: Tensor | None = None) -> None:
        out_channels, in_channels, self.kernel = conv.weight.shape
        self.stride = conv.stride[0]
        assert conv.bias is not None
        bias = conv.bias if more_bias is None else conv.bias + more_bias
        # Samples of all channels lie side by side in [B, T, C]; so must the weights: [C_out, kernel, C_in].
        weight = conv.weight.permute(0, 2, 1).reshape(out_channels, self.kernel * in_channels)
        self.product = product(weight, bias, precision)
        self.dtype = self.product.dtype  # of what it takes
        self.weights = weight.numel()
        self.pieces: tuple[Tensor, ...] = ()  # [stride * C_in, C_out] each
        pieces, rest = divmod(self.kernel, self.stride)
        if isinstance(self.product, BlasProduct) and 1 < pieces <= MOST_PIECES and not rest:
            self.pieces = torch.split(self.product.weight, self.stride * in_channels)
        self.convolution: OneDNNConv | None = None
        float32 = self.dtype == torch.float32  # in bfloat16 the copy is half as long, and the product as fast
        if self.kernel > 1 and self.weights < LARGE_WEIGHTS and float32 and selftest.onednn_conv():
            self.convolution = OneDNNConv(conv.weight, bias, self.stride)

    def __call__(self, x: Tensor) -> Tensor:
        """As `conv1d` of this module, over `x: [B, T, C_in]`, in the type of its weights."""
        return self.bind(x.to(self.dtype).contiguous())()

    def bind(self, x: Tensor, out: Tensor | None = None) -> Callable[[], Tensor]:
        """A call that convolves what stands in contiguous `x: [B, T, C_in]` then, and gives `[B, T', C_out]`.

        It may write that into `out: [B * T', C_out]`, and without one into the same memory again.
        """
        batch_size, samples, channels = x.shape
        rows = (samples - self.kernel) // self.stride + 1
        work = batch_size * rows * self.weights
        small = work < PIECES_MAX_WORK or self.convolution is None
        if batch_size == 1 and isinstance(self.product, BlasProduct) and self.pieces and small:
            used = x[0, : (rows - 1) * self.stride + self.kernel]
            strides = used.view(rows + len(self.pieces) - 1, self.stride * channels)
            inputs = [strides[piece : piece + rows] for piece in range(len(self.pieces))]
            y = x.new_empty(rows, self.product.weight.shape[1]) if out is None else out
            return partial(_add_up, y, *self.product.under(y), inputs, self.pieces)
        if self.convolution and work >= CONVOLUTION_MIN_WORK:
            return partial(_convolve, self.convolution, as_image(x))
        # A view: a window begins every stride * C_in values and overlaps the next.
        windows = x.as_strided((batch_size, rows, self.kernel * channels), (x.stride(0), self.stride * channels, 1))
        return partial(_multiply, self.product, windows if batch_size > 1 else windows[0], out, (batch_size, rows, -1))

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        """`y: [B, T, C_out]` and this convolution, of kernel 1, over `x: [B, T, C_in]` without its bias."""
        return self.product.add_to(y.view(-1, y.shape[2]), x.to(self.dtype).reshape(-1, x.shape[2])).view(y.shape)


def _convolve(convolution: OneDNNConv, image: Tensor) -> Tensor:
    return convolution(image).squeeze(2).transpose(1, 2)


def _add_up(y: Tensor, under: Tensor, bias: Tensor, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """`bias` in `under`, a view of `y [T', C_out]`, and all of `inputs [T', K] @ weights [K, C_out]`: `[1, T', C_out]`."""
    under.copy_(bias)
    for x, weight in zip(inputs, weights, strict=True):
        y.addmm_(x, weight)
    return y.unsqueeze(0)


def _multiply(product: Product, windows: Tensor, out: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """`windows: [B, T', K]`, or `[T', K]` of one stream."""
    return product(windows.flatten(0, -2), out).view(shape)
