"""A private operator that fails its self-test is replaced."""

import pytest
import torch
from torch import nn

from streamer.codec.cpu import pack, selftest
from streamer.codec.cpu.lstm import GateLSTM, HalfLSTM
from streamer.codec.cpu.matmul import BlasProduct, HalfProduct, OneDNNProduct


@pytest.mark.parametrize(
    "failure", [AttributeError("no operator"), RuntimeError("not built in"), TypeError("arguments")]
)
def test_blas_takes_over_where_onednn_raises(failure, monkeypatch, tested_anew):
    def fail(*_):
        raise failure

    for name in ("OneDNNProduct", "OneDNNConv", "OneDNNLSTM", "HalfProduct", "HalfLSTM", "Int8LSTM"):
        monkeypatch.setattr(selftest, name, fail)
    conv, lstm = nn.Conv1d(64, 128, 8, 4).requires_grad_(False), nn.LSTM(8, 8, 2).requires_grad_(False)
    packed = pack.PackedConv(conv)
    assert packed.convolution is None
    assert isinstance(packed.product, BlasProduct)
    assert isinstance(pack.packed_lstm(lstm), GateLSTM)
    assert not pack.supported("bfloat16")
    assert not pack.supported("int8")
    x = torch.randn(2, 400, 64)
    torch.testing.assert_close(packed(x), pack.conv1d(x, conv), rtol=1e-4, atol=1e-4)


def test_blas_takes_over_where_onednn_computes_something_else(monkeypatch, tested_anew):
    class Wrong(OneDNNProduct):
        def __call__(self, x, out=None):
            return super().__call__(x) * 1.001

    if not selftest.onednn_product(torch.float32):
        pytest.skip("oneDNN's packed product does not work here anyway")
    selftest.onednn_product.cache_clear()
    monkeypatch.setattr(selftest, "OneDNNProduct", Wrong)
    assert type(pack.product(torch.randn(512, 512), torch.randn(512))) is BlasProduct


def test_not_a_number_fails_the_self_test(monkeypatch, tested_anew):
    class Broken(BlasProduct):
        def __call__(self, x, out=None):
            return super().__call__(x) * float("nan")

    monkeypatch.setattr(selftest, "OneDNNProduct", Broken)
    assert not selftest.onednn_product(torch.float32)


def test_float32_weights_take_over_where_float16_ones_do_not_work(monkeypatch, tested_anew):
    def fail(*_):
        raise RuntimeError("not built in")

    for name in ("HalfProduct", "HalfLSTM"):
        monkeypatch.setattr(selftest, name, fail)
    weight, lstm = torch.randn(600, 512).half().float(), nn.LSTM(8, 8, 2).requires_grad_(False).half().float()
    assert not isinstance(getattr(pack.product(weight, weight[:, 0]), "few", None), HalfProduct)
    assert not isinstance(getattr(pack.packed_lstm(lstm), "single", None), HalfLSTM)
