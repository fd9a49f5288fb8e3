import pytest

from streamer.dashboard.view import duration, elapsed


@pytest.mark.parametrize(("seconds", "text"), [(-1.0, "0 s"), (59.9, "59 s"), (60.0, "1 min"), (7500.0, "2 h 05 min")])
def test_durations_are_rounded_down(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.9, "00:00:00"), (761.0, "00:12:41"), (90_061.0, "1 d 01:01:01")])
def test_the_stopwatch_counts_days(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text
