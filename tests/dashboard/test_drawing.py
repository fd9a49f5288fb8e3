import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from streamer.dashboard.drawing import axis, bar, clip, column, justify, line_width, pad, share_to_cells, truncate
from streamer.plain_text import printable

shares = st.floats(-1, 2)
widths = st.integers(0, 60)


@given(st.text(max_size=30), widths)
def test_a_padded_text_takes_exactly_its_cells(text: str, width: int) -> None:
    assert cell_len(pad(printable(text), width)) == width


@given(st.text(max_size=30), widths)
def test_a_cut_text_never_takes_more_than_its_cells(text: str, width: int) -> None:
    assert cell_len(truncate(printable(text), width)) <= width


@pytest.mark.parametrize("nasty", ["\x1b[2J", "a\rb", "tab\there", "\u202eevil", "bell\x07"])
def test_names_cannot_steer_the_terminal(nasty: str) -> None:
    assert printable(nasty).isprintable()


@given(shares, widths, st.none() | shares)
def test_a_bar_takes_exactly_its_width(share: float, width: int, tick: float | None) -> None:
    assert line_width(bar(share, width, "label-0", tick=tick)) == width


def test_a_bar_is_exact_to_an_eighth_of_a_cell() -> None:
    assert bar(1 / 16, 2, "label-0")[0] == ("▏", "label-0")
    assert bar(0.5, 4, "label-0")[0] == ("██", "label-0")


def test_the_tick_is_seen_on_the_bar_and_beside_it() -> None:
    assert ("┃", "label-0 reverse") in bar(0.9, 10, "label-0", tick=0.3)
    assert ("┃", "tick") in bar(0.3, 10, "label-0", tick=0.9)


@given(shares, st.integers(1, 9))
def test_a_column_has_one_cell_a_row(share: float, rows: int) -> None:
    assert len(column(share, rows)) == rows


def test_a_column_is_never_quite_empty_above_zero() -> None:
    assert column(0.0, 2) == "  "
    assert column(0.001, 2) == " ▁"
    assert column(1.0, 2) == "██"


@given(st.lists(st.tuples(st.text(max_size=8).map(printable), st.just("")), max_size=5).map(tuple), widths)
def test_a_clipped_line_never_grows_past_its_width(line: tuple[tuple[str, str], ...], width: int) -> None:
    assert line_width(clip(line, width)) <= width


@given(st.integers(0, 20), st.integers(0, 20), widths)
def test_two_ends_fill_the_width_and_the_left_one_gives_way(left: int, right: int, width: int) -> None:
    line = justify((("l" * left, ""),), (("r" * right, ""),), width)
    text = "".join(part for part, _ in line)
    assert len(text) == width
    assert text.count("r") == min(right, width)


@given(st.floats(-10, 10), st.integers(0, 100))
def test_a_share_stays_within_its_cells(share: float, width: int) -> None:
    assert 0 <= share_to_cells(share, width) <= width


def test_an_axis_ends_now_and_its_ages_grow_to_the_left() -> None:
    text = axis(300.0, 60, (30.0, 60.0, 120.0), lambda age: f"-{age / 60:.0f} min")
    assert text.split() == ["-5", "min", "-4", "min", "-3", "min", "-2", "min", "-1", "min", "now"]
    assert len(text) == 60


@pytest.mark.parametrize("width", [1, 3, 7, 20, 119])
def test_an_axis_never_leaves_its_width(width: int) -> None:
    assert len(axis(3.0, width, (0.5, 1.0), lambda age: f"-{age:g} s")) == width
