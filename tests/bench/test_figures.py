"""Percentiles, and the verdict on criteria."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.bench.figures import Criterion, all_met, percentile, percentiles, verdict_table

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300)


@given(VALUES, st.floats(0.01, 1.0))
def test_a_percentile_is_the_least_value_that_the_share_does_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    needed = math.ceil(share * len(values))
    assert sum(value <= found for value in values) >= needed
    assert sum(value < found for value in values) < needed


@given(VALUES)
def test_percentiles_rise_and_do_not_depend_on_the_order(values: list[float]) -> None:
    found = percentiles(values)
    assert found.p50 <= found.p95 <= found.p99
    assert found == percentiles(sorted(values, reverse=True))


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="No values"):
        percentile([], 0.5)


@pytest.mark.parametrize(("share", "value"), [(0.95, 19), (0.99, 20), (0.5, 10), (0.01, 1)])
def test_a_percentile_is_the_nearest_rank(share: float, value: float) -> None:
    assert percentile([float(n) for n in range(20, 0, -1)], share) == value


def test_a_criterion_that_is_not_met_stands_out() -> None:
    criteria = [Criterion("a", "0", "0", True), Criterion("b", "0", "7", False)]
    assert all_met(criteria[:1])
    assert not all_met(criteria)
    table = verdict_table(criteria)
    assert table.splitlines()[2:] == ["| a | 0 | 0 | yes |", "| b | 0 | 7 | NO |"]
