"""The packed kernels against torch's own, and what happens where oneDNN's are not to be had."""

import pytest
import torch
from torch import nn

from streamer.codec import kernels


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(5)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("frames", [1, 2, 40])
@pytest.mark.parametrize(("channels", "kernel", "stride"), [(1, 7, 1), (32, 3, 1), (16, 1, 1), (128, 16, 8)])
def test_a_packed_convolution_equals_torchs(channels, kernel, stride, frames, batch_size):
    conv = nn.Conv1d(channels, 192, kernel, stride).requires_grad_(False)
    x = torch.randn(batch_size, (frames - 1) * stride + kernel, channels)
    torch.testing.assert_close(kernels.PackedConv(conv)(x), kernels.conv1d(x, conv), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("frames", [1, 5])
def test_a_packed_lstm_equals_torchs_from_any_state(frames, batch_size):
    lstm = nn.LSTM(512, 512, 2).requires_grad_(False)
    x, hidden, cell = (torch.randn(batch_size, n, 512) for n in (frames, 2, 2))
    before = hidden.clone(), cell.clone()
    for packed, plain in zip(
        kernels.PackedLSTM(lstm)(x, hidden, cell), kernels.lstm(x, hidden, cell, lstm), strict=True
    ):
        torch.testing.assert_close(packed, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close((hidden, cell), before, rtol=0, atol=0)


def test_a_large_product_is_onednns_where_that_works():
    weight, bias = torch.randn(512, 512), torch.randn(512)
    expected = kernels.OneDNNProduct if kernels.onednn_packs() else kernels.BlasProduct
    assert isinstance(kernels.product(weight, bias), expected)
    assert isinstance(kernels.product(weight.double(), bias.double()), kernels.BlasProduct)
    assert isinstance(kernels.product(weight[:8], bias[:8]), kernels.BlasProduct)


@pytest.mark.parametrize(
    "failure", [AttributeError("no operator"), RuntimeError("not built in"), TypeError("arguments")]
)
def test_blas_takes_over_where_onednn_fails(failure, monkeypatch):
    def fail(*_):
        raise failure

    monkeypatch.setattr(kernels, "OneDNNProduct", fail)
    kernels.onednn_packs.cache_clear()
    try:
        weight, bias, rows = torch.randn(512, 512), torch.randn(512), torch.randn(4, 512)
        product = kernels.product(weight, bias)
    finally:
        kernels.onednn_packs.cache_clear()
    assert isinstance(product, kernels.BlasProduct)
    torch.testing.assert_close(product(rows), rows @ weight.T + bias, rtol=1e-4, atol=1e-4)


def test_blas_takes_over_where_onednn_computes_something_else(monkeypatch):
    class Wrong(kernels.BlasProduct):
        def __call__(self, x):
            return super().__call__(x) * 1.001

    monkeypatch.setattr(kernels, "OneDNNProduct", Wrong)
    kernels.onednn_packs.cache_clear()
    try:
        assert type(kernels.product(torch.randn(512, 512), torch.randn(512))) is kernels.BlasProduct
    finally:
        kernels.onednn_packs.cache_clear()
