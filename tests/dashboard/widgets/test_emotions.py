import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.dashboard.widgets.emotions import Current, emotion_lines
from tests.dashboard.lines import text, texts
from tests.dashboard.scripted_feed import LABELS

NOTHING = Current(None)
PROBS = {label: (i + 1) / 36 for i, label in enumerate(LABELS)}


@given(st.permutations(range(8)))
def test_labels_never_change_places(order: list[int]) -> None:
    probs = {label: (order[i] + 1) / 36 for i, label in enumerate(LABELS)}
    lines = emotion_lines(LABELS, probs, probs, NOTHING, 60, 8)
    assert [text(line).split()[0] for line in lines] == list(LABELS)


def test_only_the_current_label_is_marked() -> None:
    lines = emotion_lines(LABELS, PROBS, PROBS, Current("sad"), 60, 8)
    assert [text(line).startswith("▶") for line in lines] == [label == "sad" for label in LABELS]


def test_a_label_that_is_held_from_before_is_not_marked_as_a_claim() -> None:
    lines = emotion_lines(LABELS, PROBS, PROBS, Current("sad", held=True), 60, 8)
    (marked,) = [line for line in lines if text(line).startswith("▷ sad")]
    assert {ink for part, ink in marked[:2]} == {"muted"}
    assert "▶" not in texts(lines)


def test_numbers_are_the_smoothed_values() -> None:
    lines = emotion_lines(LABELS, PROBS, dict.fromkeys(LABELS, 0.125), NOTHING, 60, 8)
    assert [float(text(line).split()[-1]) for line in lines] == [round(p, 2) for p in PROBS.values()]


def test_where_nothing_is_smoothed_the_raw_values_are_shown() -> None:
    assert "0.22" in texts(emotion_lines(LABELS, None, PROBS, NOTHING, 60, 8))


def test_where_nothing_was_inferred_no_number_is_claimed() -> None:
    assert texts(emotion_lines(LABELS, None, None, NOTHING, 60, 8)).count("–") == 8


@pytest.mark.parametrize("height", [1, 2, 4, 7, 8, 16])
@pytest.mark.parametrize("width", [20, 38, 60, 118])
@pytest.mark.parametrize("labels", [1, 2, 8, 30])
def test_any_number_of_labels_fits_any_panel(labels: int, width: int, height: int) -> None:
    names = tuple(f"label{i}" for i in range(labels))
    lines = emotion_lines(names, dict.fromkeys(names, 1 / labels), None, NOTHING, width, height)
    assert len(lines) <= height
    shown = sum(name in texts(lines).split() for name in names)
    left_out = [int(line.split()[1]) for line in texts(lines).splitlines() if "more" in line]
    assert shown + sum(left_out) == labels or height == 1
