"""Matrix products with a weight that does not change, each laid out once for the library that computes it.

Several operators used here and in `recurrence` are no part of torch's public interface: they are what torch.compile and
torch's own quantised modules call. `kernels` tries each out before it relies on it.
"""

from typing import Protocol

import torch
from torch import Tensor

# oneDNN's calls take 15 us longer than those of BLAS, and its layout gains a tenth: from so many multiplications on.
ONEDNN_MIN_WORK = 3_000_000


class Product(Protocol):
    """`x @ weight.T + bias` for a weight that does not change, over rows `x: [M, K]` of `dtype`, giving `[M, N]`."""

    dtype: torch.dtype

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """May write into `out: [M, N]` what it returns."""
        ...

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        """`y + (x @ weight.T)`, without bias; may write into `y`."""
        ...


class BlasProduct:
    """By the BLAS that torch brings: the least overhead, and always there."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = weight.t().contiguous()  # [K, N]
        self.bias = bias.clone()
        self.dtype = weight.dtype

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.addmm(self.bias, x, self.weight, out=out)

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        return y.addmm_(x, self.weight)


class OneDNNProduct:
    """By oneDNN with a weight in its blocked layout."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight.default(weight)
        self.bias = bias.clone()
        self.dtype = weight.dtype
        self.linear = torch.ops.mkldnn._linear_pointwise.default
        self.linear_and_add = torch.ops.mkldnn._linear_pointwise.binary

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return self.linear(x, self.weight, self.bias, "none", [], "")  # type: ignore[no-any-return]

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        return self.linear_and_add(x, y, self.weight, None, "add")  # type: ignore[no-any-return]


class EitherProduct:
    """BLAS for few rows, oneDNN for many."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.few, self.many = BlasProduct(weight, bias), OneDNNProduct(weight, bias)
        self.dtype = weight.dtype
        self.many_rows = ONEDNN_MIN_WORK / weight.numel()

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return self.few(x, out) if x.shape[0] < self.many_rows else self.many(x)

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        return self.few.add_to(y, x)  # adds in place


class Int8Product:
    """By torch's dynamically quantised linear layer: 8-bit weights, a scale for each output; float32 in and out."""

    dtype = torch.float32

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = pack_int8(weight, bias)
        self.linear = torch.ops.quantized.linear_dynamic.default

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return self.linear(x, self.weight)  # type: ignore[no-any-return]

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        return y.add_(self(x))


def pack_int8(weight: Tensor, bias: Tensor) -> object:
    """`weight: [N, K]` as 8-bit numbers with one scale an output, in the layout of torch's quantised products."""
    weight = weight.detach().float()
    scales = weight.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny) / 127
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    quantized = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
    return torch.ops.quantized.linear_prepack(quantized, bias.detach().float())
