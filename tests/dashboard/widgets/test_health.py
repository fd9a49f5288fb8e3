from dataclasses import replace

import pytest

from streamer.dashboard.drawing import line_width
from streamer.dashboard.widgets.health import flow, health_items, table
from tests.dashboard.lines import DESK, texts, view_of
from tests.dashboard.scripted_feed import BROKER


def test_the_three_loss_counters_are_shown_apart() -> None:
    assert DESK.health is not None
    health = replace(DESK.health, overflow_events=3, dropped_samples=48_000, skipped_windows=7)
    assert "overflow 3 dropped 48,000 skipped 7" in texts(table(health_items(view_of(replace(DESK, health=health)))))


def test_a_figure_that_is_not_known_yet_is_a_dash() -> None:
    lines = texts(table(health_items(view_of(replace(DESK, health=None)))))
    assert "latency   –" in lines
    assert "not sent" not in lines


def test_a_figure_that_the_broker_does_not_carry_is_marked_not_sent() -> None:
    view = view_of(replace(DESK, health=None), watching=True)
    assert "latency   not sent" in texts(table(health_items(view)))


def test_messages_given_up_are_counted_loudly() -> None:
    view = view_of()
    view = replace(view, snapshot=replace(view.snapshot, broker=replace(BROKER, shed=12)))
    assert ("12", "bad strong") in [span for _, line in health_items(view) for span in line]


def test_malformed_messages_are_counted_beside_what_the_broker_does_not_carry() -> None:
    view = view_of(watching=True)
    broker = replace(BROKER, sent=None, queued=None, shed=None, malformed=1234)
    lines = texts(table(health_items(replace(view, snapshot=replace(view.snapshot, broker=broker)))))
    assert "messages  not sent malformed 1,234" in lines


def test_a_broker_that_is_away_is_shown_with_its_reason() -> None:
    view = view_of()
    broker = replace(BROKER, status="offline", detail="Connection refused.")
    lines = texts(table(health_items(replace(view, snapshot=replace(view.snapshot, broker=broker)))))
    assert "✖ offline mqtt://127.0.0.1:1883 Connection refused." in lines


def test_what_does_not_get_through_is_shown_though_the_broker_is_connected() -> None:
    view = view_of()
    broker = replace(BROKER, status="online", detail="It does not bring back what is published.")
    items = dict(health_items(replace(view, snapshot=replace(view.snapshot, broker=broker))))
    assert ("● online", "warn") in items["MQTT"]
    assert any("does not bring back" in text for text, _ in items["MQTT"])


@pytest.mark.parametrize("width", [56, 76, 116])
def test_flowing_figures_stay_within_the_width(width: int) -> None:
    assert all(line_width(line) <= width for line in flow(health_items(view_of()), width))
