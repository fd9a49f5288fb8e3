"""The verdict on start-up time and memory."""

import pytest

from streamer.bench.figures import all_met
from streamer.bench.start import report


@pytest.mark.parametrize(
    ("help_s", "window_s", "rss_mb", "met"),
    [
        ([0.2, 0.25, 0.9], [2.0, 2.1, 9.0], 440.0, [True, True, True]),
        ([0.2, 0.3, 0.4], [4.9, 5.0, 5.1], 600.0, [False, False, False]),
    ],
    ids=["medians below the limits", "limits are not met by reaching them"],
)
def test_the_median_is_judged(help_s: list[float], window_s: list[float], rss_mb: float, met: list[bool]) -> None:
    found = report(help_s, window_s, rss_mb)
    assert [criterion.met for criterion in found.criteria] == met
    assert all_met(found.criteria) is all(met)
    assert found.help_s == tuple(help_s)
