from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamer.dashboard.drawing import line_width
from streamer.dashboard.widgets.attention import AttentionStrip, attention_heights, attention_lines
from streamer.events import Status
from streamer.feed.interpret import inferred
from tests.dashboard.lines import DESK, texts, view_of


def test_even_attention_stands_at_half_height_everywhere() -> None:
    assert attention_heights([1 / 225] * 225, 225, 76) == pytest.approx([0.5] * 76)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=300), st.integers(1, 120))
@example([5e-324], 2)  # the smallest weight there is
def test_attention_stays_within_the_strip(weights: list[float], columns: int) -> None:
    heights = attention_heights(weights, len(weights), columns)
    assert len(heights) == columns
    assert all(h is None or 0.0 <= h < 1.0 for h in heights)


@given(st.lists(st.floats(0.001, 1.0), min_size=10, max_size=300), st.integers(1, 120))
def test_no_weight_is_lost_between_columns(weights: list[float], columns: int) -> None:
    heights = attention_heights(weights, len(weights), columns)
    densities = [h / (1 - h) for h in heights if h is not None]
    assert sum(densities) / columns == pytest.approx(1.0)


def test_a_window_that_is_not_full_yet_leaves_its_oldest_part_empty() -> None:
    heights = attention_heights([1 / 75] * 75, 225, 9)
    assert heights[:6] == [None] * 6
    assert heights[6:] == pytest.approx([0.5] * 3)


def test_a_burst_stands_out_where_it_was() -> None:
    weights = [0.001] * 225
    weights[150] = 1.0
    heights = [h or 0.0 for h in attention_heights(weights, 225, 75)]
    assert heights.index(max(heights)) == 50


@pytest.mark.parametrize("rows", [1, 2, 4, 9])
def test_the_strip_has_as_many_lines_as_rows(rows: int) -> None:
    lines = attention_lines([0.2, 0.9, None], rows)
    assert [line_width(line) for line in lines] == [3] * rows


@pytest.mark.parametrize("status", ["silence", "paused", "mic lost"])
def test_the_strip_is_empty_where_nothing_was_inferred(status: Status) -> None:
    assert DESK.window is not None
    stream = replace(DESK, status=status, window=replace(DESK.window, probs=None, confidence=None, label=None))
    assert not inferred(stream)
    assert not set(texts(AttentionStrip().draw(view_of(stream), 60, 4))) & set("▁▂▃▄▅▆▇█")
    assert set(texts(AttentionStrip().draw(view_of(), 60, 4))) & set("▁▂▃▄▅▆▇█")
