"""Counters of a stream: what steps cost, and how late windows are."""

import pytest

from streamer.pipeline.counters import Counters


def test_the_real_time_factor_is_compute_time_over_audio_time_and_forgets() -> None:
    counters = Counters()
    assert counters.real_time_factor is None
    counters.record_cost(0.1, 1.0, 0.5)
    assert counters.real_time_factor == pytest.approx(0.1)
    for _ in range(100):
        counters.record_cost(0.5, 1.0, 0.5)
    assert counters.real_time_factor == pytest.approx(0.5, abs=1e-3)
    assert counters.compute_s == pytest.approx(0.05 + 25.0)


def test_latencies_have_a_median_and_a_tail_once_there_are_any() -> None:
    counters = Counters()
    assert counters.latency_percentiles_ms() == (None, None)
    counters.latencies_ms.extend(float(ms) for ms in range(101))
    assert counters.latency_percentiles_ms() == (50.0, 95.0)
