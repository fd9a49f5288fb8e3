"""Self-tests for private torch operators; a failing one is disabled for the process.

Each test computes a small example once per process, with this torch on this machine, and compares it with plain torch.
An operator that raises or computes something else is not used, and the log says why.
"""

import logging
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamer.codec.cpu.lstm import HalfLSTM, Int8LSTM, OneDNNLSTM, PackedLSTM, lstm_parameters
from streamer.codec.cpu.matmul import HalfProduct, OneDNNConv, OneDNNProduct, as_image

logger = logging.getLogger(__name__)

_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.02, torch.qint8: 0.05}  # absolute, for values around 1


@cache
def onednn_product(dtype: torch.dtype) -> bool:
    """Return whether `OneDNNProduct` works with weights of that type."""
    weight, bias, rows = _example_product()

    def attempt() -> list[Tensor]:
        product = OneDNNProduct(weight.to(dtype), bias.to(dtype))
        x = rows.to(dtype)
        return [product(x), product.add_to(torch.zeros(len(rows), len(weight), dtype=dtype), x), product.unpack()]

    expected = [F.linear(rows, weight, bias), F.linear(rows, weight), weight]
    return _passes(f"oneDNN's packed product in {dtype}", attempt, expected, _TOLERANCE[dtype])


@cache
def onednn_conv(dtype: torch.dtype) -> bool:
    """Return whether `OneDNNConv` works with weights of that type."""
    weight, bias, _ = _example_product()
    weight, x = weight.reshape(3, 1, 5), torch.linspace(-1, 1, 22).reshape(2, 11, 1)

    def attempt() -> list[Tensor]:
        return [OneDNNConv(weight.to(dtype), bias.to(dtype), 2)(as_image(x.to(dtype)))[:, :, 0]]

    expected = [F.conv1d(x.transpose(1, 2), weight, bias, 2)]
    return _passes(f"oneDNN's packed convolution in {dtype}", attempt, expected, _TOLERANCE[dtype])


@cache
def onednn_lstm(dtype: torch.dtype) -> bool:
    """Return whether `OneDNNLSTM` works in that type."""
    return _lstm_passes(
        f"oneDNN's packed LSTM in {dtype}",
        lambda module: OneDNNLSTM(lstm_parameters(module), dtype),
        _TOLERANCE[dtype],
    )


@cache
def half_product() -> bool:
    """Return whether `HalfProduct` works."""
    weight, bias, rows = _example_product()
    weight = weight.half().float()
    expected, tolerance = [F.linear(rows, weight, bias)], _TOLERANCE[torch.float32]
    return _passes("FBGEMM's product in float16", lambda: [HalfProduct(weight, bias)(rows)], expected, tolerance)


@cache
def half_lstm() -> bool:
    """Return whether `HalfLSTM` works, and gives its weights back."""
    module = _example_lstm()
    expected = [parameter for layer in lstm_parameters(module) for parameter in layer]

    def unpack() -> list[Tensor]:
        return [parameter for layer in HalfLSTM(module).unpack() for parameter in layer]

    computes = _lstm_passes("FBGEMM's LSTM in float16", HalfLSTM, _TOLERANCE[torch.float32])
    return computes and _passes("unpacking FBGEMM's LSTM", unpack, expected, 0.0)


@cache
def int8_lstm() -> bool:
    """Return whether `Int8LSTM` works."""
    return _lstm_passes("torch's 8-bit LSTM", Int8LSTM, _TOLERANCE[torch.qint8])


def _example_product() -> tuple[Tensor, Tensor, Tensor]:
    """Return a weight `[3, 5]`, a bias `[3]` and rows `[4, 5]`."""
    return torch.linspace(-1, 1, 15).reshape(3, 5), torch.ones(3), torch.linspace(0, 1, 20).reshape(4, 5)


def _example_lstm() -> nn.LSTM:
    """Return an LSTM of two layers whose weights float16 holds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.LSTM(8, 8, 2).requires_grad_(False).half().float()


def _lstm_passes(name: str, pack: Callable[[nn.LSTM], PackedLSTM], tolerance: float) -> bool:
    module = _example_lstm()
    x = torch.linspace(-1, 1, 48).reshape(2, 3, 8)  # [B, T, C]
    state = torch.linspace(-1, 1, 32).reshape(2, 2, 8)  # [B, layers, C]
    initial = state.transpose(0, 1).contiguous()
    y, (hidden, cell) = module(x.transpose(0, 1), (initial, initial))
    expected = [part.transpose(0, 1) for part in (y, hidden, cell)]
    return _passes(name, lambda: list(pack(module)(x, state, state)), expected, tolerance)


def _passes(name: str, attempt: Callable[[], list[Tensor]], expected: list[Tensor], tolerance: float) -> bool:
    """Return whether `attempt` computes `expected` within `tolerance`; log why, if not."""
    try:
        error = max((got.float() - right).abs().max().item() for got, right in zip(attempt(), expected, strict=True))
    except (AttributeError, RuntimeError, TypeError) as failure:  # no such operator, not built in, other arguments
        logger.info("%s does not work here: %s", name, failure)
        return False
    if not error <= tolerance:  # true for NaN too
        logger.info("%s is off by %g here and is not used", name, error)
    return error <= tolerance
