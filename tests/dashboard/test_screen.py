import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.dashboard.screen import middle_heights


@pytest.mark.parametrize("size", [(80, 24), (80, 36), (120, 40), (160, 50)])
def test_eight_labels_have_a_lane_each_from_80x24_on(size: tuple[int, int]) -> None:
    emotions, timeline = middle_heights(8, *size)
    assert emotions == timeline
    assert timeline >= 8 + 1 + 1


def test_the_timeline_goes_first_where_room_is_short() -> None:
    assert middle_heights(8, 60, 20) == (9, 0)


@given(st.integers(0, 40), st.sampled_from([60, 80, 120]), st.integers(12, 70))
def test_the_middle_leaves_room_for_the_others(labels: int, columns: int, rows: int) -> None:
    emotions, timeline = middle_heights(labels, columns, rows)
    taken = emotions if columns > 60 else emotions + timeline
    assert taken <= max(8, rows - 10)
