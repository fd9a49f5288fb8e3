"""Matrix products and convolutions with a constant weight, each packed once for the library that computes it.

Several operators used here and in `lstm` are not part of torch's public interface: they are what torch.compile and
torch's own quantised modules call. `pack` uses one only after its self-test passed (see `selftest`).
"""

from collections.abc import Callable
from functools import cached_property
from math import gcd
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

ONEDNN_MIN_ROWS = 4  # fewer rows are padded to these: oneDNN reads a large weight slower for one to three
HALF_MAX_ROWS = 8  # rows up to which FBGEMM, reading half the bytes, is as fast as oneDNN or faster
BIAS_ROWS = 64  # largest number of rows for which the bias is kept repeated
ROW_PARTS = 4  # parts of a single row of thousands of values; 2 and 8 take a tenth longer


class Product(Protocol):
    """Computes `x @ weight.T + bias` with a constant weight `[N, K]`, for `x: [M, K]` of `dtype`, to `[M, N]`."""

    dtype: torch.dtype

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the product; may write it into `out: [M, N]`."""
        ...

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        """Return `y + (x @ weight.T)`, without bias; may write into `y`."""
        ...


class BlasProduct:
    """Product by the BLAS that comes with torch: the least overhead, and always available.

    The output is first filled with the bias, in blocks of rows, and the product is added to it: torch takes as long to
    broadcast a narrow bias row by row as the product takes, and a bias repeated for all rows beforehand would have to
    be read from main memory.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = weight.t().contiguous()  # [K, N]
        self.bias = bias.clone()
        self.dtype = weight.dtype
        self._bias_block = bias.repeat(BIAS_ROWS)  # [BIAS_ROWS * N]

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        if x.shape[0] == 1:
            return torch.addmm(self.bias, x, self.weight, out=out)
        y = self.weight.new_empty(x.shape[0], len(self.bias)) if out is None else out
        target, block = self.bias_fill(y)
        target.copy_(block)
        return y.addmm_(x, self.weight)

    def bias_fill(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return a view of `y: [M, N]` and the block that, copied into the view, fills every row with the bias."""
        width = gcd(len(y), BIAS_ROWS) * len(self.bias)
        return y.view(-1, width), self._bias_block[:width]

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        return y.addmm_(x, self.weight)


class OneDNNProduct:
    """Product by oneDNN, with the weight in oneDNN's blocked layout."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight.default(weight)
        self.bias = bias.clone()
        self.dtype = weight.dtype
        self.linear = torch.ops.mkldnn._linear_pointwise.default
        self.linear_and_add = torch.ops.mkldnn._linear_pointwise.binary

    @torch.inference_mode(False)
    def unpack(self) -> Tensor:
        """Return the weight `[N, K]`."""
        return self.weight.to_dense()  # type: ignore[no-any-return]

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return self.linear(x, self.weight, self.bias, "none", [], "")  # type: ignore[no-any-return]

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        return self.linear_and_add(x, y, self.weight, None, "add")  # type: ignore[no-any-return]


class HalfProduct:
    """Float32 product by FBGEMM, with a weight that float16 holds exactly, and is kept in: half the bytes to read."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = torch.ops.quantized.linear_prepack_fp16(weight, bias)
        self.linear = torch.ops.quantized.linear_dynamic_fp16.default

    def __call__(self, x: Tensor) -> Tensor:
        return self.linear(x, self.weight)  # type: ignore[no-any-return]


def fits_float16(*weights: Tensor) -> bool:
    """Return whether float16 holds every value exactly, as it does those of a checkpoint that is stored in it."""
    return all(torch.equal(weight, weight.half().to(weight.dtype)) for weight in weights)


class LargeProduct:
    """Product with a weight larger than a core's cache: for few rows the time goes into reading the weight.

    With `half`, few rows go to `HalfProduct`. Without it a single row goes to `RowProduct`, and two and three rows are
    padded to four: oneDNN reads the weight slower for fewer than four. What computes few rows is made when it is
    needed: steps of a quarter of a second do without it.
    """

    def __init__(self, weight: Tensor, bias: Tensor, *, half: bool = False) -> None:
        self._half = half
        self.few_rows = HALF_MAX_ROWS if half else 1
        self.many = OneDNNProduct(weight, bias)
        self.dtype = weight.dtype

    @cached_property
    def few(self) -> Callable[[Tensor], Tensor]:
        """What computes up to `few_rows` rows."""
        with torch.inference_mode(False):
            return (HalfProduct if self._half else RowProduct)(self.many.unpack(), self.many.bias)

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        rows = x.shape[0]
        if rows <= self.few_rows:
            return self.few(x)
        if rows < ONEDNN_MIN_ROWS:
            return self.many(F.pad(x, (0, 0, 0, ONEDNN_MIN_ROWS - rows)))[:rows]
        return self.many(x)

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        return self.many.add_to(y, x)


class RowProduct:
    """Product of a single row, `[1, K]` to `[1, N]`: the row is cut into parts, one batched product, then summed.

    MKL reads rows of about 1,000 weights a quarter faster than rows of 4,000, and a batch of products faster than
    matrix by vector (see also `as_vectors`). Without MKL, or where K cannot be divided, it is one matrix by vector.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        has_mkl = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
        self.parts = ROW_PARTS if has_mkl and weight.shape[1] % ROW_PARTS == 0 else 1
        self.weight = torch.stack(weight.chunk(self.parts, dim=1))  # [parts, N, K / parts]
        self.bias = torch.cat((bias, bias.new_zeros((self.parts - 1) * len(bias)))).view(self.parts, -1, 1)

    def __call__(self, x: Tensor) -> Tensor:
        if self.parts == 1:
            return torch.addmv(self.bias.flatten(), self.weight[0], x[0]).unsqueeze(0)
        return torch.baddbmm(self.bias, self.weight, as_vectors(x.view(self.parts, -1))).sum(0).view(1, -1)


def as_vectors(rows: Tensor) -> Tensor:
    """View `rows: [B, K]` as vectors `[B, K, 1]` for a batch of products.

    Each vector is the transpose of a row, so its last stride is K: with a stride of one MKL's batch takes eight times
    as long.
    """
    return rows.unsqueeze(1).transpose(1, 2)


class OneDNNConv:
    """Convolution by oneDNN, without unfolding, over adjacent channels."""

    def __init__(self, weight: Tensor, bias: Tensor, stride: int) -> None:
        self.weight = torch.ops.mkldnn._reorder_convolution_weight.default(
            weight.unsqueeze(2), [0, 0], [1, stride], [1, 1], 1, None
        )
        self.bias = bias.clone()
        self.strides = [1, stride]
        self.convolve = torch.ops.mkldnn._convolution_pointwise.default

    def __call__(self, image: Tensor) -> Tensor:
        """Convolve `[B, C_in, 1, T]` to `[B, C_out, 1, T']`; both are channels-last in memory, as from `as_image`."""
        return self.convolve(  # type: ignore[no-any-return]
            image, self.weight, self.bias, [0, 0], self.strides, [1, 1], 1, "none", [], ""
        )


def as_image(x: Tensor) -> Tensor:
    """View `x: [B, T, C]` as `[B, C, 1, T]`: torch packs oneDNN weights for 2-d convolutions only."""
    return x.transpose(1, 2).unsqueeze(2)
