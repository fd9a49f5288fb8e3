"""Products and convolutions with a weight that does not change, each laid out once for the library that computes it.

Several operators used here and in `recurrence` are no part of torch's public interface: they are what torch.compile and
torch's own quantised modules call. `kernels` tries each out before it relies on it.
"""

from math import gcd
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

ONEDNN_FEW_ROWS = 4
BIAS_ROWS = 64  # at most, that a bias is laid out for at once
ROW_PARTS = 4  # of a single row of thousands of values; 2 and 8 take a tenth longer


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
    """By the BLAS that torch brings: the least overhead, and always there.

    The bias is laid under the product in blocks of rows: torch takes as long to spread a narrow one row by row as the
    product takes, and one that was spread over all rows beforehand would have to be read from far away.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = weight.t().contiguous()  # [K, N]
        self.bias = bias.clone()
        self.dtype = weight.dtype
        self._block = bias.repeat(BIAS_ROWS)  # [BIAS_ROWS * N]

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        if x.shape[0] == 1:
            return torch.addmm(self.bias, x, self.weight, out=out)
        y = self.weight.new_empty(x.shape[0], len(self.bias)) if out is None else out
        rows, block = self.under(y)
        rows.copy_(block)
        return y.addmm_(x, self.weight)

    def under(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """A view of `y: [M, N]`, and what to copy there so that nothing but bias is in it."""
        width = gcd(len(y), BIAS_ROWS) * len(self.bias)
        return y.view(-1, width), self._block[:width]

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


class LargeProduct:
    """For a weight that no cache near the core holds: few rows cost the reading of it.

    oneDNN reads it slower for one to three rows than for four, so they are filled up to four. One row by itself is a
    `RowProduct`.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.single, self.many = RowProduct(weight, bias), OneDNNProduct(weight, bias)
        self.dtype = weight.dtype

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        rows = x.shape[0]
        if rows == 1:
            return self.single(x)
        if rows < ONEDNN_FEW_ROWS:
            return self.many(F.pad(x, (0, 0, 0, ONEDNN_FEW_ROWS - rows)))[:rows]
        return self.many(x)

    def add_to(self, y: Tensor, x: Tensor) -> Tensor:
        return self.many.add_to(y, x)


class RowProduct:
    """One row `[1, K]`, to `[1, N]`: the row is cut into parts, and the products of all are one batch, to be added up.

    MKL reads rows of about 1,000 weights a quarter faster than rows of 4,000, and a batch of products faster than a
    matrix by vector; but see `as_vectors`. Other libraries go straight through the weight, as it lies.
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
    """`rows: [B, K]` as vectors `[B, K, 1]` for a batch of products.

    Each lies there as the transpose of a row, with its length as its stride: with a stride of one MKL's batch takes eight
    times as long.
    """
    return rows.unsqueeze(1).transpose(1, 2)


class OneDNNConv:
    """A convolution by oneDNN, which unfolds nothing, over channels that lie side by side."""

    def __init__(self, weight: Tensor, bias: Tensor, stride: int) -> None:
        self.weight = torch.ops.mkldnn._reorder_convolution_weight.default(
            weight.unsqueeze(2), [0, 0], [1, stride], [1, 1], 1, None
        )
        self.bias = bias.clone()
        self.strides = [1, stride]
        self.convolve = torch.ops.mkldnn._convolution_pointwise.default

    def __call__(self, image: Tensor) -> Tensor:
        """`[B, C_in, 1, T]` to `[B, C_out, 1, T']`; in memory both have time before channels, as `as_image` gives it."""
        return self.convolve(  # type: ignore[no-any-return]
            image, self.weight, self.bias, [0, 0], self.strides, [1, 1], 1, "none", [], ""
        )


def as_image(x: Tensor) -> Tensor:
    """A view of `x: [B, T, C]` as `[B, C, 1, T]`: torch's oneDNN packs weights for pictures only."""
    return x.transpose(1, 2).unsqueeze(2)
