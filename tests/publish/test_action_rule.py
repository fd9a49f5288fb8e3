"""When an action runs: labels, confidence, duration, quiet hours, cool-down, and the end that belongs to a start."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from streamer.config_actions import ActionConfig
from streamer.events import EmotionEnded, EmotionStarted, Event, State, Window
from streamer.publish.action_rule import ActionRule
from tests.support.event_samples import TIME, window

HOP_S = 0.24


def started(label: str = "angry", at_s: float = 10.0, stream: str = "desk", confidence: float = 0.6) -> EmotionStarted:
    return EmotionStarted(stream, f"k3f9-{label}-{at_s}", TIME + at_s, label, None, confidence, at_s)


def ended(start: EmotionStarted, lasted_s: float = 5.0, peak: float = 0.9) -> EmotionEnded:
    return EmotionEnded(start.stream, start.id, start.time + lasted_s, start.label, lasted_s, peak)


def heard(until_s: float, confidence: float = 0.6, label: str = "angry", stream: str = "desk") -> tuple[State, Window]:
    """What a hop gives: the state, then the window that ends at `until_s`."""
    shown = replace(window(stream=stream), end_s=until_s)
    return State(stream, TIME + until_s, label, confidence, TIME), shown


class Clock:
    """Local time and the monotonic clock, which move together."""

    def __init__(self, at: str = "12:00") -> None:
        self.now = datetime.fromisoformat(f"2026-11-22T{at}")
        self.passed_s = 50.0

    def after(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.passed_s += seconds


def rule(clock: Clock | None = None, **conditions: Any) -> ActionRule:
    clock = clock or Clock()
    table = ActionConfig(name="lamp", command=("lamp",), **conditions)
    return ActionRule(table, lambda: clock.now, lambda: clock.passed_s)


def runs(one: ActionRule, *events: Event | Iterable[Event]) -> list[Event]:
    flat = [e for event in events for e in (event if isinstance(event, tuple) else (event,))]
    return [due for event in flat if (due := one.due(event)) is not None]


def test_a_start_runs_it_at_once_and_an_end_does_not() -> None:
    start = started()
    assert runs(rule(), start, heard(10.0), heard(10.24), ended(start)) == [start]


def test_it_runs_for_the_labels_and_streams_that_it_names() -> None:
    angry, sad, door = started("angry"), started("sad"), started("angry", stream="door")
    assert runs(rule(labels=["angry"]), angry, sad, door) == [angry, door]
    assert runs(rule(streams=["desk"]), angry, sad, door) == [angry, sad]
    assert runs(rule(labels=["sad"], streams=["door"]), angry, sad, door) == []


def test_a_start_waits_until_the_emotion_has_been_held_long_enough_and_runs_once() -> None:
    one, start = rule(min_duration_s=2.0), started(at_s=10.0)
    assert runs(one, start, *(heard(10 + i * HOP_S) for i in range(9))) == []  # up to 11.92
    assert runs(one, heard(12.16)) == [start]
    assert runs(one, *(heard(12.4 + i * HOP_S) for i in range(50)), ended(start)) == []


def test_exactly_the_least_duration_is_enough() -> None:
    one, start = rule(min_duration_s=0.72), started(at_s=0.1)
    assert runs(one, start, heard(0.1 + HOP_S), heard(0.1 + 2 * HOP_S)) == []
    assert runs(one, heard(0.1 + HOP_S + HOP_S + HOP_S)) == [start]


def test_an_emotion_that_ends_before_does_not_run_it() -> None:
    one, short, long = rule(min_duration_s=2.0), started(at_s=10.0), started(at_s=20.0)
    assert runs(one, short, heard(11.0), ended(short, 1.0), heard(13.0)) == []
    assert runs(one, long, heard(22.0)) == [long]


def test_a_start_waits_for_its_confidence_too() -> None:
    one, start = rule(min_confidence=0.8), started(confidence=0.6)
    assert runs(one, start, heard(10.24, 0.7), heard(10.48, 0.79)) == []
    assert runs(one, heard(10.72, 0.8)) == [start]


def test_streams_wait_apart() -> None:
    one, desk, door = rule(min_duration_s=1.0), started(at_s=10.0), started(at_s=50.0, stream="door")
    assert runs(one, desk, door, heard(50.5, stream="door"), heard(11.0), heard(51.0, stream="door")) == [desk, door]


def test_an_end_alone_runs_for_what_lasted_and_was_sure() -> None:
    one, start = rule(on=["emotion_ended"], min_duration_s=3.0, min_confidence=0.8, labels=["angry"]), started()
    long = ended(start, 3.0, 0.8)
    assert runs(one, start, heard(14.0), long, ended(start, 2.9, 0.9), ended(start, 9.0, 0.79)) == [long]
    assert runs(one, ended(started("sad"))) == []


def test_what_was_switched_on_is_switched_off_and_nothing_else() -> None:
    clock = Clock()
    one = rule(clock, on=["emotion_started", "emotion_ended"], cooldown_s=60)
    first, second = started(at_s=10.0), started(at_s=20.0)
    assert runs(one, first, ended(first)) == [first, ended(first)]  # the end does not wait for the cool-down
    assert runs(one, second, ended(second)) == []  # its start was left out
    clock.after(61)
    third = started(at_s=90.0)
    assert runs(one, third, ended(third)) == [third, ended(third)]


def test_the_cool_down_leaves_out_what_comes_too_soon() -> None:
    clock = Clock()
    one, starts = rule(clock, cooldown_s=30.0), [started(at_s=float(i)) for i in range(4)]
    found = []
    for start in starts:
        found += runs(one, start, ended(start))
        clock.after(15)
    assert found == [starts[0], starts[2]]


@pytest.mark.parametrize(
    ("hours", "at", "quiet"),
    [
        ("22:00-07:00", "21:59", False),
        ("22:00-07:00", "22:00", True),
        ("22:00-07:00", "03:00", True),
        ("22:00-07:00", "07:00", False),
        ("12:30-14:00", "13:00", True),
        ("12:30-14:00", "12:29", False),
        ("12:30-14:00", "14:00", False),
        ("0:00-6:00", "00:00", True),
    ],
)
def test_in_quiet_hours_nothing_starts(hours: str, at: str, quiet: bool) -> None:
    start = started()
    assert runs(rule(Clock(at), quiet_hours=[hours]), start, heard(11.0)) == ([] if quiet else [start])


def test_what_started_before_quiet_hours_is_switched_off_in_them() -> None:
    clock, start = Clock("21:59"), started()
    one = rule(clock, on=["emotion_started", "emotion_ended"], quiet_hours=["22:00-07:00", "12:00-13:00"])
    assert runs(one, start) == [start]
    clock.after(120)
    assert runs(one, ended(start)) == [ended(start)]
