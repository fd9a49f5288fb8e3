from hypothesis import given
from hypothesis import strategies as st

from streamer.dashboard.lens import Lens

NOW = 1_000_000.0
OLDEST = NOW - 7200.0
BIN_S = 5.0
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.integers(-70, 70)),
        st.tuples(st.just("page"), st.integers(-3, 3)),
        st.tuples(st.just("zoom"), st.integers(-2, 2)),
    ),
    max_size=30,
)


def test_the_cursor_begins_at_the_newest_column_and_walks_back() -> None:
    lens = Lens(300.0).step(-1, BIN_S, NOW + 1, OLDEST)
    assert lens.cursor == NOW + 1
    assert lens.step(-2, BIN_S, NOW + 1, OLDEST).cursor == NOW - 9


def test_the_section_follows_the_cursor_over_its_left_edge() -> None:
    lens = Lens(300.0)
    for _ in range(70):
        lens = lens.step(-1, BIN_S, NOW, OLDEST)
    assert lens.end is not None
    assert lens.end - 300.0 <= lens.cursor <= lens.end  # type: ignore[operator]


def test_on_past_now_the_cursor_goes_and_the_timeline_follows_time_again() -> None:
    lens = Lens(300.0, end=NOW - 100, cursor=NOW - 102.5)
    for _ in range(40):
        lens = lens.step(1, BIN_S, NOW, OLDEST)
    assert lens == Lens(300.0)


def test_zooming_keeps_the_cursor_in_its_place() -> None:
    lens = Lens(300.0, cursor=NOW - 150).zoom(-1, NOW)
    assert (lens.span_s, lens.cursor, lens.end) == (120.0, NOW - 150, NOW - 90)


def test_a_page_back_ends_at_the_oldest_moment() -> None:
    lens = Lens(3600.0)
    for _ in range(9):
        lens = lens.page(-1, NOW, OLDEST)
    assert lens.end == OLDEST + 3600.0
    for _ in range(9):
        lens = lens.page(1, NOW, OLDEST)
    assert lens.end is None


@given(STEPS)
def test_however_it_is_moved_it_shows_no_future_and_never_loses_its_cursor(steps: list[tuple[str, int]]) -> None:
    lens = Lens(300.0)
    for what, by in steps:
        if what == "step":
            lens = lens.step(by, lens.span_s / 60, NOW, OLDEST)
        elif what == "page":
            lens = lens.page(by, NOW, OLDEST)
        else:
            lens = lens.zoom(by, NOW)
        assert lens.end is None or lens.end < NOW
        if lens.cursor is not None:
            assert lens.cursor <= lens.right(NOW) + lens.span_s / 60
