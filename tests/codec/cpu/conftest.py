"""Fixtures of the CPU engine's tests."""

from collections.abc import Iterator

import pytest
import torch

from streamer.codec.cpu import pack, selftest

SELFTESTS = (
    selftest.onednn_product,
    selftest.onednn_conv,
    selftest.onednn_lstm,
    selftest.half_product,
    selftest.half_lstm,
    selftest.int8_lstm,
    pack.supported,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(5)


@pytest.fixture
def tested_anew() -> Iterator[None]:
    """Forget the results of the self-tests, before the test and after it."""

    def forget() -> None:
        for attempt in SELFTESTS:
            attempt.cache_clear()

    forget()
    yield
    forget()
