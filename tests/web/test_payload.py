"""What the page is told of a snapshot."""

import json
from dataclasses import replace

import pytest

from streamer.events import State, Status
from streamer.feed.snapshot import TimelinePoint
from streamer.web.payload import held_spans, past_json, state_json
from tests.dashboard.scripted_feed import START, snapshot, stream_view

DESK = stream_view("desk", 271.0)


def told(**changes: object) -> dict[str, object]:
    shown = snapshot(271.0, (replace(DESK, **changes),))  # type: ignore[arg-type]
    (stream,) = json.loads(state_json(shown, "run"))["streams"]
    return stream


def test_a_live_stream_is_told_whole() -> None:
    stream = told()
    assert (stream["label"], stream["held"], stream["leaning"]) == ("angry", False, None)
    assert stream["level"] == {"rms": -19.2, "peak": -10.1, "hold": -10.1, "noise": -57.0, "clipped": 0}
    assert stream["losses"] == [0, 15_360, 0]


def test_what_is_held_in_silence_is_marked_as_held() -> None:
    assert told(status="silence")["held"] is True


def test_an_unsure_stream_leans() -> None:
    stream = told(state=State("desk", START, None, None, START, "sad", 0.37))
    assert (stream["label"], stream["leaning"], stream["leaning_confidence"]) == (None, "sad", 0.37)


@pytest.mark.parametrize("status", ["paused", "mic lost", "no device", "source lost", "starting"])
def test_where_no_audio_is_processed_nothing_old_is_shown(status: Status) -> None:
    stream = told(status=status)
    assert (stream["label"], stream["probs"], stream["raw"], stream["seq"]) == (None, None, None, None)


def test_a_watcher_gets_the_level_of_the_newest_window() -> None:
    assert told(level=None)["level"] == {"rms": -19.2, "peak": -10.1}
    assert told(level=None, status="paused")["level"] is None


def points(*spans: tuple[float, float, str | None]) -> tuple[TimelinePoint, ...]:
    return tuple(
        TimelinePoint(begin + k / 4, label, 0.8, k == 2)
        for begin, end, label in spans
        for k in range(int((end - begin) * 4))
    )


def test_points_are_joined_to_spans_and_gaps_stay() -> None:
    past = points((0, 10, "sad"), (10, 20, None), (20, 30, "sad"), (30, 40, "happy"))
    assert held_spans(past, 40.0) == [[0, 10, "sad", 0.8], [20, 30, "sad", 0.8], [30, 40, "happy", 0.8]]


def test_a_day_of_one_label_is_a_small_past() -> None:
    past = tuple(TimelinePoint(2.0 * k, "sad", 0.8, False) for k in range(43_200))
    shown = snapshot(271.0, (replace(DESK, timeline=past),))
    body = past_json(replace(shown, time=86_400.0), "run")
    assert len(body) < 60_000
    spans = json.loads(body)["streams"]["desk"]["spans"]
    assert sum(end - start for start, end, *_ in spans) == pytest.approx(86_400, abs=5)


def test_losses_are_told_with_their_moment() -> None:
    past = points((0, 10, None))
    shown = snapshot(271.0, (replace(DESK, timeline=past),))
    assert json.loads(past_json(shown, "run"))["streams"]["desk"]["lost"] == [0.5]
