"""The packed kernels against torch's own, and what happens where some of them are not to be had."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from streamer.codec.cpu import pack, selftest
from streamer.codec.cpu.lstm import EitherLSTM, GateLSTM, Int8LSTM, OneDNNLSTM, RowLSTM
from streamer.codec.cpu.matmul import (
    BlasProduct,
    LargeProduct,
    OneDNNConv,
    OneDNNProduct,
    RowProduct,
)
from streamer.errors import UsageError

TRYOUTS = (selftest.onednn_product, selftest.onednn_conv, selftest.onednn_lstm, selftest.int8_lstm, pack.supported)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(5)


@pytest.fixture
def tried_anew():
    """What works is tried out again, and again after the test."""

    def forget():
        for attempt in TRYOUTS:
            attempt.cache_clear()

    forget()
    yield
    forget()


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("frames", [1, 2, 40])
@pytest.mark.parametrize(
    ("channels", "kernel", "stride"), [(1, 7, 1), (32, 3, 1), (16, 1, 1), (128, 16, 8), (512, 7, 1)]
)
def test_a_packed_convolution_equals_torchs(channels, kernel, stride, frames, batch_size):
    conv = nn.Conv1d(channels, 192, kernel, stride).requires_grad_(False)
    x = torch.randn(batch_size, (frames - 1) * stride + kernel, channels)
    torch.testing.assert_close(pack.PackedConv(conv)(x), pack.conv1d(x, conv), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("frames", [1, 5])
@pytest.mark.parametrize("pack", [pack.packed_lstm, lambda module: GateLSTM(module, BlasProduct)], ids=["fast", "blas"])
def test_a_packed_lstm_equals_torchs_from_any_state(pack, frames, batch_size):
    lstm = nn.LSTM(512, 512, 2).requires_grad_(False)
    x, hidden, cell = (torch.randn(batch_size, n, 512) for n in (frames, 2, 2))
    before = hidden.clone(), cell.clone()
    for packed, plain in zip(pack(lstm)(x, hidden, cell), pack.lstm(x, hidden, cell, lstm), strict=True):
        torch.testing.assert_close(packed, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close((hidden, cell), before, rtol=0, atol=0)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 50])
@pytest.mark.parametrize("shape", [(3, 5), (64, 4096), (512, 2048)])
def test_a_product_of_any_size_equals_torchs(shape, rows):
    weight, bias, x = torch.randn(shape), torch.randn(shape[0]), torch.randn(rows, shape[1])
    product = pack.product(weight, bias)
    torch.testing.assert_close(product(x), F.linear(x, weight, bias), rtol=1e-4, atol=1e-3)
    y = torch.randn(rows, shape[0])
    torch.testing.assert_close(product.add_to(y.clone(), x), y + F.linear(x, weight), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("has_mkl", [True, False])
@pytest.mark.parametrize("length", [4096, 4097])
def test_a_row_by_itself_may_be_cut_into_parts(length, has_mkl, monkeypatch):
    monkeypatch.setattr("torch.backends.mkl.is_available", lambda: has_mkl)
    weight, bias, x = torch.randn(64, length), torch.randn(64), torch.randn(1, length)
    product = RowProduct(weight, bias)
    assert product.parts == (4 if has_mkl and length == 4096 else 1)
    torch.testing.assert_close(product(x), F.linear(x, weight, bias), rtol=1e-4, atol=1e-3)


def test_each_size_has_its_product():
    small, large = torch.randn(8, 8), torch.randn(512, 1024)
    works = selftest.onednn_product(torch.float32)
    assert isinstance(pack.product(small, small[0]), BlasProduct)
    assert isinstance(pack.product(large, large[:, 0]), LargeProduct if works else BlasProduct)
    assert isinstance(pack.product(large.double(), large[:, 0].double()), BlasProduct)


# Where a part does not work


@pytest.mark.parametrize(
    "failure", [AttributeError("no operator"), RuntimeError("not built in"), TypeError("arguments")]
)
def test_others_take_over_where_onednn_fails(failure, monkeypatch, tried_anew):
    def fail(*_):
        raise failure

    for name in ("OneDNNProduct", "OneDNNConv", "OneDNNLSTM", "Int8LSTM"):
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


def test_blas_takes_over_where_onednn_computes_something_else(monkeypatch, tried_anew):
    class Wrong(OneDNNProduct):
        def __call__(self, x, out=None):
            return super().__call__(x) * 1.001

    if not selftest.onednn_product(torch.float32):
        pytest.skip("oneDNN's packed product does not work here anyway")
    selftest.onednn_product.cache_clear()
    monkeypatch.setattr(selftest, "OneDNNProduct", Wrong)
    assert type(pack.product(torch.randn(512, 512), torch.randn(512))) is BlasProduct


def test_not_a_number_is_not_what_it_should_be(monkeypatch, tried_anew):
    class Broken(BlasProduct):
        def __call__(self, x, out=None):
            return super().__call__(x) * float("nan")

    monkeypatch.setattr(selftest, "OneDNNProduct", Broken)
    assert not selftest.onednn_product(torch.float32)


# Reduced precision


def test_float32_is_always_supported():
    assert pack.supported("float32")
    pack.check_supported("float32", "cuda")


@pytest.mark.parametrize(("precision", "feature"), [("bfloat16", "AVX512-BF16"), ("int8", "VNNI")])
def test_a_processor_without_the_feature_is_told_what_to_use(precision, feature, monkeypatch, tried_anew):
    monkeypatch.setattr(pack, "_processor_has", lambda *_: False)
    with pytest.raises(UsageError, match=f"{feature}.*use float32"):
        pack.check_supported(precision, "cpu")


def test_int8_is_for_the_cpu_and_bfloat16_for_accelerators_too():
    with pytest.raises(UsageError, match="not for cuda; use bfloat16 or float32"):
        pack.check_supported("int8", "cuda")
    pack.check_supported("bfloat16", "cuda")


@pytest.mark.parametrize("frames", [1, 7])
def test_an_8_bit_lstm_is_off_by_its_rounding(frames):
    if not selftest.int8_lstm():
        pytest.skip("torch's 8-bit LSTM does not work here")
    lstm = nn.LSTM(64, 64, 2).requires_grad_(False)
    x, hidden, cell = (torch.randn(2, n, 64) for n in (frames, 2, 2))
    packed = pack.packed_lstm(lstm, "int8")
    assert isinstance(packed, Int8LSTM)
    for rounded, exact in zip(packed(x, hidden, cell), pack.lstm(x, hidden, cell, lstm), strict=True):
        assert 1e-5 < (rounded - exact).norm() / exact.norm() < 0.03


def test_a_weight_of_zeros_has_8_bits_too():
    if not selftest.int8_lstm():
        pytest.skip("torch's 8-bit LSTM does not work here")
    lstm = nn.LSTM(8, 8, 2).requires_grad_(False)
    for parameter in lstm.parameters():
        parameter.zero_()
    y, _, cell = pack.packed_lstm(lstm, "int8")(torch.randn(1, 3, 8), torch.zeros(1, 2, 8), torch.ones(1, 2, 8))
    assert torch.count_nonzero(y)
    torch.testing.assert_close(cell, torch.full((1, 2, 8), 0.125))  # half of it kept in each frame, nothing new


def test_single_frames_in_a_row_carry_the_state_on():
    lstm = nn.LSTM(64, 64, 2).requires_grad_(False)
    x, hidden, cell = torch.randn(1, 9, 64), torch.randn(1, 2, 64), torch.randn(1, 2, 64)
    expected = pack.lstm(x, hidden, cell, lstm)
    packed, frames = RowLSTM(lstm), []
    for frame in x.split(1, dim=1):
        y, hidden, cell = packed(frame, hidden, cell)
        frames.append(y)
    for row, plain in zip((torch.cat(frames, dim=1), hidden, cell), expected, strict=True):
        torch.testing.assert_close(row, plain, rtol=1e-4, atol=1e-5)


def test_an_output_of_a_single_frame_stays_as_it_is_after_the_next():
    packed, state = RowLSTM(nn.LSTM(64, 64, 2).requires_grad_(False)), torch.zeros(1, 2, 64)
    y, *after = packed(torch.randn(1, 1, 64), state, state)
    copies = [part.clone() for part in (y, *after)]
    packed(torch.randn(1, 1, 64), *after)
    for part, copy in zip((y, *after), copies, strict=True):
        assert torch.equal(part, copy)


@pytest.mark.parametrize(("mkl", "single"), [(True, RowLSTM), (False, GateLSTM)])
def test_single_frames_have_their_own_lstm_with_mkl(mkl, single, monkeypatch):
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
    if not selftest.onednn_lstm(torch.float32):
        pytest.skip("oneDNN's packed LSTM does not work here")
    assert isinstance(EitherLSTM(nn.LSTM(8, 8, 2).requires_grad_(False)).single, single)


def test_float32_lstms_have_one_for_single_frames():
    if not selftest.onednn_lstm(torch.float32):
        pytest.skip("oneDNN's packed LSTM does not work here")
    packed = pack.packed_lstm(nn.LSTM(8, 8, 2).requires_grad_(False))
    assert isinstance(packed, EitherLSTM)
    assert isinstance(packed.many, OneDNNLSTM)


def test_little_work_and_single_streams_are_no_convolution_of_onednns(monkeypatch):
    if not selftest.onednn_conv():
        pytest.skip("oneDNN's packed convolution does not work here")
    calls = []
    monkeypatch.setattr(OneDNNConv, "__call__", lambda self, image: calls.append(image.shape) or image)
    packed = pack.PackedConv(nn.Conv1d(32, 32, 3).requires_grad_(False))
    packed(torch.zeros(2, 100, 32))
    packed(torch.zeros(1, 2000, 32))
    assert calls == []
    packed(torch.zeros(2, 1000, 32))
    assert calls == [(2, 32, 1, 1000)]


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (4, 2), (10, 5), (7, 1), (5, 2), (2, 2)])
@pytest.mark.parametrize("more", [0, 1, 3])
def test_a_kernel_in_pieces_is_the_whole_kernel(batch_size, kernel, stride, more):
    conv = nn.Conv1d(6, 5, kernel, stride).requires_grad_(False)
    x = torch.randn(batch_size, kernel + 4 * stride + more, 6)
    packed = pack.PackedConv(conv)
    assert bool(packed.pieces) == ((kernel, stride) in {(3, 1), (4, 2), (10, 5)})
    torch.testing.assert_close(packed(x), pack.conv1d(x, conv), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 7, 64, 96, 127])
@pytest.mark.parametrize("given", [False, True])
def test_a_bias_lies_under_every_row(rows, given):
    product = BlasProduct(torch.randn(3, 4), torch.randn(3))
    x, out = torch.randn(rows, 4), torch.full((rows, 3), torch.nan)
    y = product(x, out if given else None)
    assert (y.data_ptr() == out.data_ptr()) == given
    torch.testing.assert_close(y, F.linear(x, product.weight.t(), product.bias))
