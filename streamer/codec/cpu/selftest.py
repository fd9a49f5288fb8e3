"""Whether an operator that is no part of torch's public interface does what it should, with this torch on this machine.

Each is given a little to compute, once in a process; what fails or computes something else is not used, and the log says
why.
"""

import logging
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamer.codec.cpu.lstm import Int8LSTM, OneDNNLSTM, PackedLSTM
from streamer.codec.cpu.matmul import OneDNNConv, OneDNNProduct, as_image

log = logging.getLogger(__name__)

_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.02, torch.qint8: 0.05}  # absolute, of values around 1


@cache
def onednn_product(dtype: torch.dtype) -> bool:
    """Whether `OneDNNProduct` works with weights of that type."""
    weight, bias, rows = _product()

    def attempt() -> list[Tensor]:
        product = OneDNNProduct(weight.to(dtype), bias.to(dtype))
        x = rows.to(dtype)
        return [product(x), product.add_to(torch.zeros(len(rows), len(weight), dtype=dtype), x)]

    expected = [F.linear(rows, weight, bias), F.linear(rows, weight)]
    return _works(f"oneDNN's packed product in {dtype}", attempt, expected, _TOLERANCE[dtype])


@cache
def onednn_conv() -> bool:
    """Whether `OneDNNConv` works, in float32."""
    weight, bias, _ = _product()
    weight, x = weight.reshape(3, 1, 5), torch.linspace(-1, 1, 22).reshape(2, 11, 1)

    def attempt() -> list[Tensor]:
        return [OneDNNConv(weight, bias, 2)(as_image(x))[:, :, 0]]

    expected = [F.conv1d(x.transpose(1, 2), weight, bias, 2)]
    return _works("oneDNN's packed convolution", attempt, expected, _TOLERANCE[torch.float32])


@cache
def onednn_lstm(dtype: torch.dtype) -> bool:
    """Whether `OneDNNLSTM` works in that type."""
    return _lstm_works(f"oneDNN's packed LSTM in {dtype}", lambda module: OneDNNLSTM(module, dtype), _TOLERANCE[dtype])


@cache
def int8_lstm() -> bool:
    """Whether `Int8LSTM` works."""
    return _lstm_works("torch's 8-bit LSTM", Int8LSTM, _TOLERANCE[torch.qint8])


def _product() -> tuple[Tensor, Tensor, Tensor]:
    """A weight `[3, 5]`, a bias `[3]` and rows `[4, 5]`."""
    return torch.linspace(-1, 1, 15).reshape(3, 5), torch.ones(3), torch.linspace(0, 1, 20).reshape(4, 5)


def _lstm_works(name: str, pack: Callable[[nn.LSTM], PackedLSTM], tolerance: float) -> bool:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.LSTM(8, 8, 2).requires_grad_(False)
    x, state = (
        torch.linspace(-1, 1, 48).reshape(2, 3, 8),
        torch.linspace(-1, 1, 32).reshape(2, 2, 8),
    )  # [B, T or layers, C]
    before = state.transpose(0, 1).contiguous()
    y, (hidden, cell) = module(x.transpose(0, 1), (before, before))
    expected = [part.transpose(0, 1) for part in (y, hidden, cell)]
    return _works(name, lambda: list(pack(module)(x, state, state)), expected, tolerance)


def _works(name: str, attempt: Callable[[], list[Tensor]], expected: list[Tensor], tolerance: float) -> bool:
    try:
        worst = max((got.float() - right).abs().max().item() for got, right in zip(attempt(), expected, strict=True))
    except (AttributeError, RuntimeError, TypeError) as error:  # no such operator, not built in, other arguments
        log.info("%s does not work here: %s", name, error)
        return False
    if not worst <= tolerance:
        log.info("%s is off by %g here and is not used", name, worst)
    return worst <= tolerance
