from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.dashboard.lens import Lens
from streamer.dashboard.widgets.timeline import LOST, Bin, bins_of, cursor_column, lane, marked, ribbon, title
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


def test_each_bin_shows_the_label_that_was_held_longest() -> None:
    # START - 5 s is a multiple of 10 s
    past = points((65.0, 25.0, "sad"), (25.0, 14.0, None), (14.0, 5.0, "happy"), (5.0, 4.0, None))
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
    bins = [Bin({"sad": 1.0}), Bin({"sad": 1.0}, lost=True), Bin(lost=True)]
    assert text(lane(bins, "sad", "label-3")) == "██" + LOST
    assert text(lane(bins, "calm", "label-1")) == " " + LOST + LOST


def test_a_surer_emotion_stands_higher_in_its_lane() -> None:
    low, high = text(lane([Bin({"sad": 0.3}), Bin({"sad": 0.9})], "sad", "label-3"))
    assert "▁" < low < high


def test_the_ribbon_writes_each_name_on_its_stretch() -> None:
    happy, sad = Bin({"happy": 1.0}), Bin({"sad": 1.0})
    bins = [happy] * 7 + [Bin()] * 2 + [sad] * 2 + [replace(sad, lost=True)] + [sad] * 5
    assert text(ribbon(bins, LABELS)) == "happy  ──sa" + LOST + "sad  "


@pytest.mark.parametrize("columns", [6, 60, 300])
def test_an_emotion_of_a_second_is_seen_in_a_column_of_silence(columns: int) -> None:
    past = points((60.0, 31.0, None), (31.0, 30.0, "angry"), (30.0, 0.0, None))
    assert {label for bin in bins_of(past, START, 60.0, columns) for label in bin.held} == {"angry"}


def test_each_of_two_emotions_in_one_column_is_seen_in_its_own_lane() -> None:
    past = points((9.0, 3.0, "sad"), (3.0, 1.0, "happy"), (1.0, 0.0, None))
    bins = bins_of(past, START - 0.1, 60.0, 6)
    assert bins[-1].label == "sad"
    assert text(lane(bins, "sad", "label-3"))[-1] != " "
    assert text(lane(bins, "happy", "label-2"))[-1] != " "


def test_an_emotion_that_came_and_went_between_two_windows_is_seen() -> None:
    past = (TimelinePoint(START - 20, "angry", 0.8, False), TimelinePoint(START - 20, None, None, False))
    assert [bin.label for bin in bins_of(past, START, 60.0, 60) if bin.label] == ["angry"]


def test_a_wide_column_has_no_holes_between_thinned_points() -> None:
    past = tuple(TimelinePoint(START - 100 + 2 * k, "sad", 0.8, False) for k in range(50))
    assert all(bin.label == "sad" for bin in bins_of(past, START - 4, 60.0, 240))


def test_the_cursor_says_when_and_what() -> None:
    past = points((300.0, 0.0, "sad"))
    lens = Lens(300.0, cursor=START - 60)
    bins = bins_of(past, START, 300.0, 60)
    at = cursor_column(lens, START, 60)
    assert title(lens, START, bins, at).endswith(" sad 0.80")
    assert at is not None
    assert marked((("x" * 60, "label-3"),), at)[1] == ("x", "label-3 reverse")


def test_the_cursor_on_a_gap_says_that_nothing_was_held() -> None:
    lens = Lens(300.0, cursor=START - 60)
    assert title(lens, START, [Bin()] * 60, cursor_column(lens, START, 60)).endswith(" no emotion")


def test_a_cursor_that_time_carried_away_is_not_drawn() -> None:
    assert cursor_column(Lens(300.0, cursor=START - 400), START, 60) is None
