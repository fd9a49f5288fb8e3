import pytest

from streamer.feed.snapshot import TimelinePoint
from streamer.feed.statistics import statistics_of


def points(*spans: tuple[float, float, str | None, float]) -> list[TimelinePoint]:
    """Four points a second from a begin to an end, with a label and a share of speech."""
    return [
        TimelinePoint(begin + k / 4, label, None, False, speech)
        for begin, end, label, speech in spans
        for k in range(int((end - begin) * 4))
    ]


PAST = points((0, 10, None, 0.0), (10, 30, "sad", 1.0), (30, 40, "happy", 0.5), (100, 110, "sad", 1.0))


def test_the_shares_are_of_the_time_that_was_heard() -> None:
    figures = statistics_of(PAST, 0.0, 110.0)
    assert figures.heard_s == pytest.approx(50, abs=2.5)  # a point stands for 2.5 s where none follows
    assert figures.held_s == {"sad": pytest.approx(30), "happy": pytest.approx(10, abs=2.5)}
    assert figures.share("sad") == pytest.approx(0.6, abs=0.03)
    assert figures.share("angry") == 0
    assert figures.speech_s == pytest.approx(35, abs=1.5)


def test_emotions_that_start_are_counted_and_set_against_an_hour() -> None:
    figures = statistics_of(PAST, 0.0, 110.0)
    assert figures.transitions == 3
    assert figures.transitions_an_hour == pytest.approx(3 * 3600 / figures.heard_s)


def test_an_emotion_that_goes_on_from_before_is_no_transition_of_the_section() -> None:
    figures = statistics_of(PAST, 20.0, 38.0)
    assert figures.transitions == 1
    assert figures.held_s == {"sad": pytest.approx(10), "happy": pytest.approx(8)}


def test_nothing_heard_has_no_rate() -> None:
    figures = statistics_of([], 0.0, 100.0)
    assert (figures.heard_s, figures.transitions_an_hour, figures.share("sad")) == (0.0, None, 0.0)
