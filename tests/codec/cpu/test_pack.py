"""Packed convolutions and products against torch's own, and which kernel is selected."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from streamer.codec.cpu import pack, selftest
from streamer.codec.cpu.matmul import BlasProduct, HalfProduct, LargeProduct, OneDNNConv, fits_float16
from streamer.errors import UsageError


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("frames", [1, 2, 40])
@pytest.mark.parametrize(
    ("channels", "kernel", "stride"), [(1, 7, 1), (32, 3, 1), (16, 1, 1), (128, 16, 8), (512, 7, 1)]
)
def test_a_packed_convolution_equals_torchs(channels, kernel, stride, frames, batch_size):
    conv = nn.Conv1d(channels, 192, kernel, stride).requires_grad_(False)
    x = torch.randn(batch_size, (frames - 1) * stride + kernel, channels)
    torch.testing.assert_close(pack.PackedConv(conv)(x), pack.conv1d(x, conv), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 50])
@pytest.mark.parametrize("shape", [(3, 5), (64, 4096), (512, 2048)])
def test_a_product_of_any_size_equals_torchs(shape, rows):
    weight, bias, x = torch.randn(shape), torch.randn(shape[0]), torch.randn(rows, shape[1])
    product = pack.product(weight, bias)
    torch.testing.assert_close(product(x), F.linear(x, weight, bias), rtol=1e-4, atol=1e-3)
    y = torch.randn(rows, shape[0])
    torch.testing.assert_close(product.add_to(y.clone(), x), y + F.linear(x, weight), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("rows", [1, 2, 8, 9])
@pytest.mark.parametrize("stored_as", [torch.float16, torch.float32])
def test_few_rows_read_a_float16_weight_where_it_is_exact(stored_as, rows):
    if not (selftest.onednn_product(torch.float32) and selftest.half_product()):
        pytest.skip("oneDNN's or FBGEMM's packed product does not work here")
    weight, bias, x = torch.randn(600, 512).to(stored_as).float(), torch.randn(600), torch.randn(rows, 512)
    product = pack.product(weight, bias)
    assert isinstance(product.few, HalfProduct) == (stored_as == torch.float16)
    torch.testing.assert_close(product(x), F.linear(x, weight, bias), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stored_as", [torch.float16, torch.float32])
def test_the_weight_for_few_rows_is_laid_out_when_there_are_few(stored_as):
    if not (selftest.onednn_product(torch.float32) and selftest.half_product()):
        pytest.skip("oneDNN's or FBGEMM's packed product does not work here")
    weight, bias = torch.randn(600, 512).to(stored_as).float(), torch.randn(600)
    product = pack.product(weight, bias)
    for rows, laid_out in ((18, False), (1, True)):
        x = torch.randn(rows, 512)
        torch.testing.assert_close(product(x), F.linear(x, weight, bias), rtol=1e-4, atol=1e-4)
        assert ("few" in vars(product)) == laid_out


def test_float16_holds_its_smallest_numbers_and_no_larger_ones_than_its_own():
    assert fits_float16(torch.tensor([0.0, -0.0, 2.0**-24, 65_504.0]))
    assert not fits_float16(torch.tensor([2.0**-25]))
    assert not fits_float16(torch.tensor([1.0]), torch.tensor([65_536.0]))
    assert not fits_float16(torch.tensor([1 + 2.0**-11]))


def test_the_product_is_selected_by_the_size_of_the_weight():
    small, large = torch.randn(8, 8), torch.randn(512, 1024)
    works = selftest.onednn_product(torch.float32)
    assert isinstance(pack.product(small, small[0]), BlasProduct)
    assert isinstance(pack.product(large, large[:, 0]), LargeProduct if works else BlasProduct)
    assert isinstance(pack.product(large.double(), large[:, 0].double()), BlasProduct)


def test_float32_is_always_supported():
    assert pack.supported("float32")
    pack.check_supported("float32", "cuda")


@pytest.mark.parametrize(("precision", "feature"), [("bfloat16", "AVX512-BF16"), ("int8", "VNNI")])
def test_a_precision_that_the_processor_lacks_is_refused_with_those_it_has(
    precision, feature, monkeypatch, tested_anew
):
    monkeypatch.setattr(pack, "_processor_has", lambda *_: False)
    with pytest.raises(UsageError, match=f"{feature}.*use float32"):
        pack.check_supported(precision, "cpu")


def test_int8_is_for_the_cpu_and_bfloat16_for_accelerators_too():
    with pytest.raises(UsageError, match="not for cuda; use bfloat16 or float32"):
        pack.check_supported("int8", "cuda")
    pack.check_supported("bfloat16", "cuda")


def test_little_work_does_not_go_to_onednns_convolution(monkeypatch):
    if not selftest.onednn_conv(torch.float32):
        pytest.skip("oneDNN's packed convolution does not work here")
    calls = []
    monkeypatch.setattr(OneDNNConv, "__call__", lambda self, image: calls.append(image.shape) or image)
    packed = pack.PackedConv(nn.Conv1d(32, 32, 3).requires_grad_(False))
    packed(torch.zeros(2, 100, 32))
    packed(torch.zeros(1, 900, 32))
    assert calls == []
    packed(torch.zeros(2, 1000, 32))
    packed(torch.zeros(1, 2000, 32))
    assert calls == [(2, 32, 1, 1000), (1, 32, 1, 2000)]


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (4, 2), (10, 5), (7, 1), (5, 2), (2, 2)])
@pytest.mark.parametrize("more", [0, 1, 3])
def test_a_kernel_cut_into_blocks_equals_the_whole_kernel(batch_size, kernel, stride, more):
    conv = nn.Conv1d(6, 5, kernel, stride).requires_grad_(False)
    x = torch.randn(batch_size, kernel + 4 * stride + more, 6)
    packed = pack.PackedConv(conv)
    assert bool(packed.kernel_blocks) == ((kernel, stride) in {(3, 1), (4, 2), (10, 5)})
    torch.testing.assert_close(packed(x), pack.conv1d(x, conv), rtol=1e-5, atol=1e-5)
