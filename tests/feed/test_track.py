"""The track keeps minutes as they were and a day thinned, and takes what comes late at its place."""

from itertools import pairwise

import pytest

from streamer.feed.snapshot import TimelinePoint
from streamer.feed.track import HOLD_S, KEPT_S, THIN_S, Track


def point(time: float, label: str | None = "sad", lost: bool = False) -> TimelinePoint:
    return TimelinePoint(time, label, 0.7 if label else None, lost)


def test_a_day_of_windows_stays_small_and_keeps_every_change() -> None:
    track = Track(300.0)
    labels = {37: "happy", 4_000: "angry", 80_000: None}
    label: str | None = "sad"
    for hop in range(0, int((KEPT_S + 3600) / 0.96)):
        second = hop * 0.96
        label = next((labels[s] for s in labels if s <= second < s + 0.96), label)
        track.add(point(second, label))
    view = track.view()
    assert len(view) < KEPT_S / THIN_S + 1000
    assert [p.time for p in view] == sorted(p.time for p in view)
    assert view[0].time >= 3600 - THIN_S
    changes = [b.time for a, b in pairwise(view) if a.label != b.label]
    assert changes == [pytest.approx(4_000, abs=0.97), pytest.approx(80_000, abs=0.97)]


def test_recent_points_and_losses_are_kept_as_they_are() -> None:
    track = Track(60.0)
    for k in range(400):
        track.add(point(k / 4, lost=k == 41))
    view = track.view()
    assert [p.time for p in view if p.time >= 40] == [k / 4 for k in range(160, 400)]
    assert [p.time for p in view if p.lost] == [10.25]


def test_an_emotion_whose_windows_never_came_is_filled_in() -> None:
    track = Track(300.0)
    track.add(point(0.0, None))
    track.add(point(100.0, None))
    track.hold(40.0, 60.0, "angry", 0.9)
    angry = [p.time for p in track.view() if p.label == "angry"]
    assert min(angry) == 40.0
    assert max(angry) >= 60.0 - THIN_S - HOLD_S
    assert [p.time for p in track.view()] == sorted(p.time for p in track.view())


def test_a_recorded_past_stands_before_what_this_run_heard() -> None:
    track = Track(300.0)
    track.add(point(1000.0, "happy"))
    track.recall([point(float(s), "sad") for s in range(0, 1010)])
    view = track.view()
    assert view[-1].label == "happy"
    assert view[0].time == 0.0
    assert [p.time for p in view] == sorted(p.time for p in view)
    assert all(p.time < 1000.0 for p in view if p.label == "sad")
