from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.dashboard.drawing import Line, line_width
from streamer.dashboard.screen import middle_heights
from streamer.dashboard.view import View, held_label
from streamer.dashboard.widgets.attention import attention_heights, attention_lines
from streamer.dashboard.widgets.emotions import emotion_lines
from streamer.dashboard.widgets.header import Notice, lower_lines, top_line
from streamer.dashboard.widgets.health import flow, health_items, table
from streamer.dashboard.widgets.level import dbfs_to_cells, meter, scale
from streamer.dashboard.widgets.streams import strip_line
from streamer.dashboard.widgets.timeline import LOST, Bin, bins_of, lane, ribbon
from streamer.events import STATUSES, Status
from streamer.feed.snapshot import StreamView, TimelinePoint
from tests.dashboard.scripted_feed import BROKER, LABELS, START, empty_snapshot, snapshot, stream_view

DESK = stream_view("desk", 271.0)
PROBS = {label: (i + 1) / 36 for i, label in enumerate(LABELS)}


def text(line: Line) -> str:
    return "".join(part for part, _ in line)


def texts(lines: list[Line]) -> str:
    return "\n".join(text(line) for line in lines)


def view_of(stream: StreamView | None = DESK, watching: bool = False) -> View:
    shown = snapshot(271.0, (stream,)) if stream else empty_snapshot()
    return View(shown, stream, LABELS, watching, 300.0)


# Level


@pytest.mark.parametrize(("dbfs", "cells"), [(-120.0, 0), (-72.0, 0), (-36.0, 20), (0.0, 40), (6.0, 40)])
def test_the_level_scale_is_fixed_whatever_was_heard_before(dbfs: float, cells: float) -> None:
    assert dbfs_to_cells(dbfs, 40) == cells


@given(st.floats(-130, 3), st.floats(-130, 3), st.floats(-130, 3), st.floats(-130, 3), st.integers(0, 120))
def test_the_meter_takes_exactly_its_width(rms: float, peak: float, hold: float, noise: float, width: int) -> None:
    assert line_width(meter(rms, peak, hold, noise, width)) == width


def test_the_meter_marks_peak_hold_and_noise_floor() -> None:
    drawn = text(meter(-36.0, -24.0, -12.0, -60.0, 72))
    assert drawn.index("┃") == 60
    assert drawn.index("╎") == 12
    assert drawn.count("▒") == 12


def test_a_noise_floor_below_the_scale_is_not_drawn() -> None:
    assert "╎" not in text(meter(-120.0, -120.0, None, -120.0, 40))


@pytest.mark.parametrize("width", [0, 5, 13, 40, 100])
def test_the_numbers_below_the_meter_never_touch(width: int) -> None:
    numbers = scale(width).split()
    assert len(scale(width)) == width
    assert all(-72 <= int(number) <= 0 for number in numbers)


# Emotions


@given(st.permutations(range(8)))
def test_labels_never_change_places(order: list[int]) -> None:
    probs = {label: (order[i] + 1) / 36 for i, label in enumerate(LABELS)}
    lines = emotion_lines(LABELS, probs, probs, None, 60, 8)
    assert [text(line).split()[0] for line in lines] == list(LABELS)


def test_the_held_label_is_marked_and_only_that_one() -> None:
    lines = emotion_lines(LABELS, PROBS, PROBS, "sad", 60, 8)
    assert [text(line).startswith("▶") for line in lines] == [label == "sad" for label in LABELS]


def test_numbers_are_the_smoothed_values() -> None:
    lines = emotion_lines(LABELS, PROBS, dict.fromkeys(LABELS, 0.125), None, 60, 8)
    assert [float(text(line).split()[-1]) for line in lines] == [round(p, 2) for p in PROBS.values()]


def test_where_nothing_is_smoothed_the_raw_values_are_shown() -> None:
    assert "0.22" in texts(emotion_lines(LABELS, None, PROBS, None, 60, 8))


def test_where_nothing_was_inferred_no_number_is_claimed() -> None:
    assert texts(emotion_lines(LABELS, None, None, None, 60, 8)).count("–") == 8


@pytest.mark.parametrize("height", [1, 2, 4, 7, 8, 16])
@pytest.mark.parametrize("width", [20, 38, 60, 118])
@pytest.mark.parametrize("labels", [1, 2, 8, 30])
def test_any_number_of_labels_fits_any_panel(labels: int, width: int, height: int) -> None:
    names = tuple(f"label{i}" for i in range(labels))
    lines = emotion_lines(names, dict.fromkeys(names, 1 / labels), None, None, width, height)
    assert len(lines) <= height
    shown = sum(name in texts(lines).split() for name in names)
    left_out = [int(line.split()[1]) for line in texts(lines).splitlines() if "more" in line]
    assert shown + sum(left_out) == labels or height == 1


# Timeline


def points(*spans: tuple[float, float, str | None]) -> tuple[TimelinePoint, ...]:
    """Points four a second between two ages in seconds, holding a label."""
    return tuple(
        TimelinePoint(START - begin + k / 4, label, 0.8, False)
        for begin, end, label in spans
        for k in range(int((begin - end) * 4))
    )


def test_each_bin_shows_the_label_that_was_held_most() -> None:
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


# Attention


def test_even_attention_stands_at_half_height_everywhere() -> None:
    assert attention_heights([1 / 225] * 225, 225, 76) == pytest.approx([0.5] * 76)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=300), st.integers(1, 120))
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


# Header and streams


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_is_a_word_with_a_sign(status: Status) -> None:
    line = text(top_line(view_of(replace(DESK, status=status)), Notice(), 80))
    assert status.upper() in line
    assert line[line.index(status.upper()) - 2] not in " abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("status", ["no signal", "mic lost", "behind"])
def test_where_something_is_wrong_the_whole_cure_is_shown(status: Status) -> None:
    cure = "The input gives only zeros; allow this terminal the microphone under System Settings, Privacy, Microphone."
    lines = lower_lines(view_of(replace(DESK, status=status, detail=cure)), Notice(), 60)
    assert " ".join(texts(lines).split())[2:] == cure


def test_a_muted_stream_claims_no_emotion() -> None:
    line = texts(lower_lines(view_of(replace(DESK, status="paused")), Notice(), 80))
    assert "capture is stopped" in line
    assert not any(label in line for label in LABELS)


def test_the_header_says_which_emotion_is_held_and_for_how_long() -> None:
    assert texts(lower_lines(view_of(), Notice(), 80)).split() == ["▌angry", "0.55", "for", "6", "s"]


@pytest.mark.parametrize("width", [20, 40, 60, 120])
def test_the_header_keeps_the_status_however_narrow(width: int) -> None:
    line = top_line(view_of(replace(DESK, device="A microphone with a very long name " * 3)), Notice(), width)
    assert line_width(line) == width
    assert "LIVE" in text(line)


@pytest.mark.parametrize("chosen", [0, 3, 7])
def test_the_chosen_stream_is_always_in_the_strip(chosen: int) -> None:
    streams = tuple(replace(DESK, name=f"stream-{i}") for i in range(8))
    line = strip_line(streams, f"stream-{chosen}", LABELS, 50)
    assert f"stream-{chosen}" in text(line)
    assert line_width(line) <= 50


@pytest.mark.parametrize("status", ["paused", "mic lost", "no signal", "starting", "ended"])
def test_a_stream_that_hears_nothing_holds_no_label(status: Status) -> None:
    deaf = replace(DESK, status=status)
    assert held_label(DESK) == "angry"
    assert held_label(deaf) is None
    assert "angry" not in text(strip_line((deaf, DESK), "desk", LABELS, 80)).split("desk")[1]


# Health


def test_the_three_loss_counters_are_shown_apart() -> None:
    assert DESK.health is not None
    health = replace(DESK.health, overflow_events=3, dropped_samples=48_000, skipped_windows=7)
    assert "overflow 3 dropped 48,000 skipped 7" in texts(table(health_items(view_of(replace(DESK, health=health)))))


def test_a_figure_that_is_not_known_yet_is_a_dash() -> None:
    lines = texts(table(health_items(view_of(replace(DESK, health=None)))))
    assert "latency   –" in lines
    assert "not sent" not in lines


def test_a_figure_that_the_broker_does_not_carry_is_said_to_be_not_sent() -> None:
    view = view_of(replace(DESK, health=None), watching=True)
    assert "latency   not sent" in texts(table(health_items(view)))


def test_messages_given_up_are_counted_loudly() -> None:
    view = view_of()
    view = replace(view, snapshot=replace(view.snapshot, broker=replace(BROKER, shed=12)))
    assert ("12", "bad strong") in [span for _, line in health_items(view) for span in line]


def test_a_broker_that_is_away_is_shown_with_its_reason() -> None:
    view = view_of()
    broker = replace(BROKER, status="offline", detail="Connection refused.")
    lines = texts(table(health_items(replace(view, snapshot=replace(view.snapshot, broker=broker)))))
    assert "✖ offline mqtt://127.0.0.1:1883 Connection refused." in lines


@pytest.mark.parametrize("width", [56, 76, 116])
def test_flowing_figures_stay_within_the_width(width: int) -> None:
    assert all(line_width(line) <= width for line in flow(health_items(view_of()), width))


# The panels' shares of the screen


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
