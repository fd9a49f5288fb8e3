"""Matrix products of rows against torch's own."""

import pytest
import torch
import torch.nn.functional as F

from streamer.codec.cpu.matmul import BlasProduct, RowProduct


@pytest.mark.parametrize("has_mkl", [True, False])
@pytest.mark.parametrize("length", [4096, 4097])
def test_a_single_row_is_cut_into_parts_with_mkl(length, has_mkl, monkeypatch):
    monkeypatch.setattr("torch.backends.mkl.is_available", lambda: has_mkl)
    weight, bias, x = torch.randn(64, length), torch.randn(64), torch.randn(1, length)
    product = RowProduct(weight, bias)
    assert product.parts == (4 if has_mkl and length == 4096 else 1)
    torch.testing.assert_close(product(x), F.linear(x, weight, bias), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("rows", [1, 2, 7, 64, 96, 127])
@pytest.mark.parametrize("given", [False, True])
def test_the_bias_is_added_to_every_row(rows, given):
    product = BlasProduct(torch.randn(3, 4), torch.randn(3))
    x, out = torch.randn(rows, 4), torch.full((rows, 3), torch.nan)
    y = product(x, out if given else None)
    assert (y.data_ptr() == out.data_ptr()) == given
    torch.testing.assert_close(y, F.linear(x, product.weight.t(), product.bias))
