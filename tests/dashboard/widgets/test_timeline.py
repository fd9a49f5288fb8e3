from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from streamer.dashboard.widgets.timeline import LOST, Bin, bins_of, lane, ribbon
from streamer.feed.snapshot import TimelinePoint
from tests.dashboard.lines import text
from tests.dashboard.scripted_feed import LABELS, START


def points(*spans: tuple[float, float, str | None]) -> tuple[TimelinePoint, ...]:
    """Points four a second between two ages in seconds, holding a label."""
    return tuple(
        TimelinePoint(START - begin + k / 4, label, 0.8, False)
        for begin, end, label in spans
        for k in range(int((begin - end) * 4))
    )


def test_each_bin_shows_its_most_frequent_label() -> None:
    past = points((65.0, 25.0, "sad"), (25.0, 15.0, None), (15.0, 5.0, "happy"))  # START - 5 s is a multiple of 10 s
    bins = bins_of(past, START - 4.0, 60.0, 6)
    assert [bin.label for bin in bins] == ["sad", "sad", "sad", None, "happy", None]


def test_bins_stand_still_while_time_goes_on() -> None:
    past = points((300.0, 0.0, "sad"))
    assert bins_of(past, START + 0.1, 300.0, 60) == bins_of(past, START + 4.9, 300.0, 60)


def test_a_single_lost_point_marks_its_whole_bin() -> None:
    past = points((50.0, 0.0, "sad"))
    past = (*past[:100], replace(past[100], lost=True), *past[101:])
    assert [bin.lost for bin in bins_of(past, START, 60.0, 6)].count(True) == 1


def test_nothing_is_drawn_for_what_is_older_than_the_timeline() -> None:
    assert bins_of(points((900.0, 600.0, "sad")), START, 300.0, 30) == [Bin()] * 30


@given(st.integers(1, 200), st.floats(1.0, 3600.0))
def test_there_is_a_bin_for_every_column(columns: int, span_s: float) -> None:
    assert len(bins_of(points((30.0, 0.0, "sad")), START, span_s, columns)) == columns


def test_lost_audio_is_marked_in_every_lane_that_is_free_there() -> None:
    bins = [Bin("sad", 1.0), Bin("sad", 1.0, lost=True), Bin(None, 1.0, lost=True)]
    assert text(lane(bins, "sad", "label-3")) == "██" + LOST
    assert text(lane(bins, "calm", "label-1")) == " " + LOST + LOST


def test_a_surer_emotion_stands_higher_in_its_lane() -> None:
    low, high = text(lane([Bin("sad", 0.3), Bin("sad", 0.9)], "sad", "label-3"))
    assert "▁" < low < high


def test_the_ribbon_writes_each_name_on_its_stretch() -> None:
    bins = [Bin("happy")] * 7 + [Bin()] * 2 + [Bin("sad")] * 2 + [Bin("sad", lost=True)] + [Bin("sad")] * 5
    assert text(ribbon(bins, LABELS)) == "happy  ──sa" + LOST + "sad  "
