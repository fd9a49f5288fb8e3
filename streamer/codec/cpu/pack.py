"""Select and pack the fastest CPU kernel for each encoder layer.

There are two sets of kernels. The plain torch ones (`conv1d`, `lstm`) are differentiable, for training and for
accelerators. The packed ones are for inference on the CPU, where a streaming step is so short that plain torch spends
most of it rearranging weights: nn.LSTM packs its 17 MB in every call, conv1d reorders its weight. Packed, every layer
is a matrix product with a weight that was laid out once. In float32 both sets compute the same up to the order of
summation.

Reduced precision exists for the packed set only. `bfloat16` computes every layer in that type. `int8` keeps the weights
of the LSTM, more than half of all, as 8-bit numbers with one scale per output, and rounds its inputs to 8 bits frame by
frame; the convolutions run in bfloat16 where the processor supports it, else in float32. (8 bits for the largest
convolutions too were measured: 5 % faster, but frames off by 1.1 % instead of 0.3 %; for the other convolutions, frames
off by 22 %.)
"""

from collections.abc import Callable, Sequence
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamer.codec.cpu import selftest
from streamer.codec.cpu.lstm import (
    DispatchLSTM,
    FrameLSTM,
    GateLSTM,
    HalfLSTM,
    Int8LSTM,
    OneDNNLSTM,
    PackedLSTM,
    lstm_parameters,
)
from streamer.codec.cpu.matmul import (
    BlasProduct,
    LargeProduct,
    OneDNNConv,
    OneDNNProduct,
    Product,
    as_image,
    fits_float16,
)
from streamer.codec.precision import PRECISIONS, Precision
from streamer.errors import UsageError

# 300,000 x 4 bytes = 1.2 MB of float32, more than a core's own cache: read again for every product, whatever its rows.
LARGE_WEIGHTS = 300_000
CONVOLUTION_MIN_WORK = 3_000_000  # multiplications; a call of oneDNN takes 15 us longer than one of BLAS
CONVOLUTION_MAX_WEIGHTS = 400_000  # larger ones have so few outputs that a product with copied windows is faster
# FBGEMM computes 18 frames of two streams a seventh faster than oneDNN, and of 3 to 16 streams a tenth slower, which is
# at most 2 % of a step. Up to here its weights alone are kept, of half the size.
HALF_MAX_STREAMS = 12
MAX_KERNEL_BLOCKS = 3  # more blocks make the products too narrow


def conv1d(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """Convolve `x: [B, T, C_in]` without padding to `[B, (T - kernel) / stride + 1, C_out]`, by plain torch."""
    return F.conv1d(x.transpose(1, 2), conv.weight, conv.bias, conv.stride).transpose(1, 2)


def lstm(x: Tensor, hidden: Tensor, cell: Tensor, module: nn.LSTM) -> tuple[Tensor, Tensor, Tensor]:
    """Run `module` as `PackedLSTM` does, by plain torch."""
    initial = hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous()  # [layers, B, C] each
    y, (hidden, cell) = module(x.transpose(0, 1), initial)
    return y.transpose(0, 1), hidden.transpose(0, 1), cell.transpose(0, 1)


@cache
def supported(precision: Precision) -> bool:
    """Return whether this processor is faster in that precision, and this build of torch has the operators for it."""
    if precision == "bfloat16":
        possible = _processor_has("avx512_bf16", "amx_tile")
        return possible and selftest.onednn_product(torch.bfloat16) and selftest.onednn_lstm(torch.bfloat16)
    if precision == "int8":
        return _processor_has("vnni") and selftest.int8_lstm()
    return True


def check_supported(precision: Precision, device: str) -> None:
    """Refuse a precision that would be both slower and less exact on `device` ("cpu", "cuda", "mps").

    Raises:
        UsageError: the precision is not supported; the message names those that are.
    """
    on_accelerator = device != "cpu" and precision == "bfloat16"
    if precision == "float32" or on_accelerator or (device == "cpu" and supported(precision)):
        return
    if device == "cpu":
        feature = {"bfloat16": "AVX512-BF16 or AMX", "int8": "VNNI"}[precision]
        others = [p for p in PRECISIONS if supported(p)]
        raise UsageError(
            f"model.precision = {precision!r}: this processor (or this build of torch) lacks {feature}, without which "
            f"{precision} is slower; use {' or '.join(others)}."
        )
    raise UsageError(
        f"model.precision = {precision!r}: this is for the CPU, not for {device}; use bfloat16 or float32 there."
    )


def _processor_has(*features: str) -> bool:
    """Return whether torch finds any of these x86 extensions."""
    return any(getattr(torch.cpu, f"_is_{feature}_supported", lambda: False)() for feature in features)


def product(weight: Tensor, bias: Tensor, precision: Precision = "float32") -> Product:
    """Return the fastest product for `weight: [N, K]` and `bias: [N]`, which are copied."""
    if precision != "float32" and supported("bfloat16"):
        return OneDNNProduct(weight.bfloat16(), bias.bfloat16())
    if weight.dtype != torch.float32 or not selftest.onednn_product(torch.float32):
        return BlasProduct(weight, bias)
    if weight.numel() < LARGE_WEIGHTS:
        return BlasProduct(weight, bias)
    return LargeProduct(weight, bias, half=fits_float16(weight) and selftest.half_product())


def small_product(weight: Tensor, bias: Tensor) -> Product:
    """Return the product for a small `weight: [N, K]` and ever other numbers of rows; both are copied.

    By oneDNN 120 chunks took 0.04 ms less, but it keeps half a megabyte for every number of rows.
    """
    return BlasProduct(weight, bias)


def packed_lstm(module: nn.LSTM, precision: Precision = "float32") -> PackedLSTM:
    """Return the fastest LSTM for the weights of `module`, which are copied."""
    if precision == "int8":
        return Int8LSTM(module)
    dtype = torch.bfloat16 if precision == "bfloat16" else next(module.parameters()).dtype
    if dtype not in (torch.float32, torch.bfloat16) or not selftest.onednn_lstm(dtype):
        return GateLSTM(module, product)
    weights = [parameter for name, parameter in module.named_parameters() if name.startswith("weight")]
    if dtype == torch.float32 and fits_float16(*weights) and selftest.half_lstm():
        half = HalfLSTM(module)
        return DispatchLSTM(half, lambda: OneDNNLSTM(half.unpack()), HALF_MAX_STREAMS)
    many = OneDNNLSTM(lstm_parameters(module), dtype)
    return many if dtype != torch.float32 else DispatchLSTM(FrameLSTM(module, many), lambda: many)


class PackedConv:
    """A convolution by matrix products with a packed weight, or by oneDNN's convolution.

    For one stream, a kernel as long as two or three strides is cut into blocks of one stride: each block is a product
    over the signal in place, and the products are summed. Otherwise the overlapping windows are gathered into a copy
    first. With more work oneDNN's convolution is faster.
    """

    def __init__(self, conv: nn.Conv1d, precision: Precision = "float32", extra_bias: Tensor | None = None) -> None:
        out_channels, in_channels, self.kernel = conv.weight.shape
        self.stride = conv.stride[0]
        assert conv.bias is not None
        bias = conv.bias if extra_bias is None else conv.bias + extra_bias
        # Channels are adjacent in [B, T, C]; so must the weights be: [C_out, kernel, C_in].
        weight = conv.weight.permute(0, 2, 1).reshape(out_channels, self.kernel * in_channels)
        self.product = product(weight, bias, precision)
        self.dtype = self.product.dtype  # of the input
        self.weight_count = weight.numel()
        self.kernel_blocks: tuple[Tensor, ...] = ()  # [stride * C_in, C_out] each
        blocks, rest = divmod(self.kernel, self.stride)
        if isinstance(self.product, BlasProduct) and 1 < blocks <= MAX_KERNEL_BLOCKS and not rest:
            self.kernel_blocks = torch.split(self.product.weight, self.stride * in_channels)
        self.convolution: OneDNNConv | None = None
        packs = self.dtype in (torch.float32, torch.bfloat16) and selftest.onednn_conv(self.dtype)
        if self.kernel > 1 and self.weight_count < CONVOLUTION_MAX_WEIGHTS and packs:
            self.convolution = OneDNNConv(conv.weight.to(self.dtype), bias.to(self.dtype), self.stride)

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve `x: [B, T, C_in]` as `conv1d` does, in the dtype of the packed weights."""
        return self.bind(x.to(self.dtype).contiguous())()

    def bind(self, x: Tensor, out: Tensor | None = None) -> Callable[[], Tensor]:
        """Return a function that convolves the contents that `x` has at its call, to `[B, T', C_out]`.

        Args:
            x: contiguous `[B, T, C_in]`.
            out: `[B * T', C_out]`, memory that the result may be written into; without it, calls may reuse their own.
        """
        batch_size, samples, channels = x.shape
        rows = (samples - self.kernel) // self.stride + 1
        work = batch_size * rows * self.weight_count
        small = work < CONVOLUTION_MIN_WORK or self.convolution is None
        if batch_size == 1 and isinstance(self.product, BlasProduct) and self.kernel_blocks and small:
            used = x[0, : (rows - 1) * self.stride + self.kernel]
            strides = used.view(rows + len(self.kernel_blocks) - 1, self.stride * channels)
            inputs = [strides[block : block + rows] for block in range(len(self.kernel_blocks))]
            y = x.new_empty(rows, self.product.weight.shape[1]) if out is None else out
            return partial(_sum_products, y, *self.product.bias_fill(y), inputs, self.kernel_blocks)
        if self.convolution and not small:
            return partial(_convolve, self.convolution, as_image(x))
        # A view whose windows begin every stride * C_in values and overlap.
        windows = x.as_strided((batch_size, rows, self.kernel * channels), (x.stride(0), self.stride * channels, 1))
        return partial(_multiply, self.product, windows if batch_size > 1 else windows[0], out, (batch_size, rows, -1))

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        """Return `y: [B, T, C_out]` plus this convolution, of kernel 1, of `x: [B, T, C_in]`, without bias."""
        return self.product.add_to(y.view(-1, y.shape[2]), x.to(self.dtype).reshape(-1, x.shape[2])).view(y.shape)


def _convolve(convolution: OneDNNConv, image: Tensor) -> Tensor:
    return convolution(image).squeeze(2).transpose(1, 2)


def _sum_products(
    y: Tensor, bias_view: Tensor, bias: Tensor, inputs: Sequence[Tensor], weights: Sequence[Tensor]
) -> Tensor:
    """Sum bias and all `inputs [T', K] @ weights [K, C_out]` into `y: [T', C_out]`; return it as `[1, T', C_out]`.

    `bias_view` and `bias` are those of `BlasProduct.bias_fill(y)`.
    """
    bias_view.copy_(bias)
    for x, weight in zip(inputs, weights, strict=True):
        y.addmm_(x, weight)
    return y.unsqueeze(0)


def _multiply(product: Product, windows: Tensor, out: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """Multiply `windows: [B, T', K]`, or `[T', K]` of one stream, and return the product in `shape`."""
    return product(windows.flatten(0, -2), out).view(shape)
