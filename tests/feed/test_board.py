"""The board: what is posted from any thread is in the next snapshot, and nothing grows without bound."""

import threading
from dataclasses import replace

import pytest

from streamer.events import EmotionEnded, EmotionStarted, Health, Info, State, Window
from streamer.feed.board import LOG_LINES, Board
from streamer.feed.snapshot import BrokerView
from streamer.feed.statistics import statistics_of
from streamer.feed.track import MOST_POINTS

WINDOW = Window(
    stream="desk",
    seq=0,
    time=1000.0,
    start_s=0.0,
    end_s=3.0,
    label="happy",
    confidence=0.7,
    probs={"neutral": 0.3, "happy": 0.7},
    speech=0.9,
    rms_dbfs=-27.0,
    peak_dbfs=-12.0,
    latency_ms=43.0,
    dropped_samples=0,
    warming=False,
)
STATE = State("desk", 1000.0, "happy", 0.66, 998.0)
HEALTH = Health("desk", 1000.0, "live", "Yeti", 47996.2, 0.18, 43.0, 61.0, 0.04, 0, 0, 0)


def board() -> Board:
    return Board(["desk"], timeline_s=60.0, wall=lambda: 1000.0)


def test_a_stream_is_starting_until_something_is_known() -> None:
    (view,) = board().snapshot().streams
    assert (view.name, view.status, view.window, view.level) == ("desk", "starting", None, None)


def test_the_newest_of_everything_is_in_the_snapshot() -> None:
    b = board()
    for event in (STATE, WINDOW, HEALTH, Info("0.1", "m", "ab", ("happy",), 24000, 3.0, 0.24, ("desk",))):
        b.event(event)
    b.update("desk", attention=(0.5, 0.5), smoothed=(("happy", 0.6),))
    snapshot = b.snapshot()
    (view,) = snapshot.streams
    assert (view.window, view.state, view.health, view.device) == (WINDOW, STATE, HEALTH, "Yeti")
    assert (view.attention, view.smoothed) == ((0.5, 0.5), (("happy", 0.6),))
    assert snapshot.info is not None
    assert snapshot.info.labels == ("happy",)


def test_a_recording_with_a_start_time_is_shown_on_the_timeline_as_it_is_played() -> None:
    b = board()
    b.event(replace(WINDOW, time=3.0))
    (view,) = b.snapshot().streams
    assert [point.time for point in view.timeline] == [1000.0]
    assert view.window is not None
    assert view.window.time == 3.0


@pytest.mark.parametrize("start_time", [None, 3.0], ids=["time of day", "a start time"])
def test_a_minute_on_the_timeline_of_a_recording_that_is_read_fast_is_one_of_the_recording(
    start_time: float | None,
) -> None:
    now = 1000.0
    b = Board(["desk"], timeline_s=600.0, wall=lambda: now)
    began = 0.0
    for i in range(1, 1001):  # four minutes of windows in ten seconds
        now += 0.01
        time = now if start_time is None else start_time + 0.24 * i
        if i == 500:
            began = time
            b.event(EmotionStarted("desk", "ab-1", time, "angry", None, 0.8, 0.0))
        b.event(replace(STATE, label="angry" if 500 <= i < 750 else None))
        b.event(replace(WINDOW, seq=i, time=time, end_s=0.24 * i, speech=1.0))
        if i == 750:
            b.event(EmotionEnded("desk", "ab-1", time, "angry", time - began, 0.9))
    (view,) = b.snapshot().streams
    assert view.now(now) == pytest.approx(1000.0 + 240.0, abs=1.0)
    figures = statistics_of(view.timeline, view.timeline[0].time, view.now(now))
    assert figures.heard_s == pytest.approx(240.0, abs=3.0)
    assert figures.held_s["angry"] == pytest.approx(60.0, abs=1.0)
    assert figures.transitions == 1


def test_a_live_stream_s_timeline_ends_now_whatever_its_clock_gains() -> None:
    now = 1000.0
    b = Board(["desk"], timeline_s=60.0, wall=lambda: now)
    for i in range(2000):
        now += 0.24
        b.event(replace(WINDOW, seq=i, time=now - 0.05, end_s=0.24 * i * 1.0005))
    (view,) = b.snapshot().streams
    assert view.now(now) == now
    b.event(replace(WINDOW, seq=2000, time=now, end_s=1e9))  # whatever others publish
    assert b.snapshot().streams[0].now(now) == now


def test_the_timeline_holds_the_tracked_label() -> None:
    clock = iter(range(1000, 10_000))
    b = Board(["desk"], timeline_s=60.0, wall=lambda: float(next(clock)))
    next(clock)
    for i in range(100):
        b.event(replace(STATE, label="happy" if i % 2 else None))
        b.event(replace(WINDOW, seq=i, time=1000.0 + i))
    (view,) = b.snapshot().streams
    assert [p.time for p in view.timeline] == [1000.0 + i for i in range(100)]
    assert {p.label for p in view.timeline} == {"happy", None}


def test_a_window_from_the_future_is_shown_as_it_arrives() -> None:
    now = 1000.0
    b = Board(["desk"], timeline_s=60.0, wall=lambda: now)
    b.event(replace(WINDOW, time=5e9))
    for _ in range(200):
        now += 1.0
        b.event(replace(WINDOW, time=now))
    (view,) = b.snapshot().streams
    assert [point.time for point in view.timeline if point.time >= 1140.0] == [1140.0 + i for i in range(61)]
    assert view.timeline[0].time == 1000.0


def test_the_timeline_goes_on_after_the_clock_was_set_back() -> None:
    now = 1000.0
    b = Board(["desk"], timeline_s=60.0, wall=lambda: now)
    b.event(replace(WINDOW, time=1000.0))
    now = 500.0
    b.event(replace(WINDOW, time=500.0))
    assert [point.time for point in b.snapshot().streams[0].timeline] == [500.0]


def test_a_flood_of_windows_is_not_kept_whole() -> None:
    b = board()
    for _ in range(MOST_POINTS + 10):
        b.event(WINDOW)
    assert len(b.snapshot().streams[0].timeline) == MOST_POINTS


def test_lost_audio_is_marked_on_the_timeline_and_logged() -> None:
    b = board()
    b.event(replace(WINDOW, dropped_samples=2400))
    snapshot = b.snapshot()
    assert snapshot.streams[0].timeline[0].lost
    assert [line.text for line in snapshot.log] == ["lost 100 ms of audio"]


def test_transitions_and_trouble_are_logged_once_each() -> None:
    b = board()
    b.event(EmotionStarted("desk", "ab-1", 1000.0, "angry", None, 0.81, 0.0))
    b.event(EmotionEnded("desk", "ab-1", 1006.0, "angry", 6.0, 0.93))
    for _ in range(3):
        b.status("desk", "mic lost", "No audio for 1.2 s.")
    b.status("desk", "live")
    b.broker(BrokerView("mqtt://x", "offline", "refused", 0, 0, 0))
    b.broker(BrokerView("mqtt://x", "offline", "refused", 0, 1, 0))
    lines = b.snapshot().log
    assert [line.text for line in lines] == [
        "angry started 0.81",
        "angry ended 6.0 s",
        "mic lost: No audio for 1.2 s.",
        "mic lost is over",
        "broker offline: refused",
    ]
    assert [line.number for line in lines] == [1, 2, 3, 4, 5]


def test_an_emotion_is_on_the_timeline_of_a_watcher_whose_windows_were_throttled_away() -> None:
    b = Board(["desk"], timeline_s=60.0, wall=lambda: 1040.0)
    b.event(WINDOW)
    b.event(EmotionStarted("desk", "ab-1", 1010.0, "angry", None, 0.81, 0.0))
    b.event(EmotionEnded("desk", "ab-1", 1030.0, "angry", 20.0, 0.93))
    b.event(replace(WINDOW, time=1040.0))
    (view,) = b.snapshot().streams
    angry = [p.time for p in view.timeline if p.label == "angry"]
    assert (min(angry), max(angry)) == (1010.0, 1028.0)
    assert [p.time for p in view.timeline] == sorted(p.time for p in view.timeline)


def test_notes_that_repeat_are_folded_and_counted() -> None:
    b = board()
    for _ in range(7):
        b.status("desk", "no signal", "only zeros")
        b.status("desk", "live")
    b.event(EmotionStarted("desk", "ab-1", 1000.0, "angry", None, 0.81, 0.0))
    b.event(EmotionStarted("desk", "ab-2", 1000.0, "angry", None, 0.81, 0.0))
    lines = b.snapshot().log
    assert [(line.text, line.count) for line in lines] == [
        ("no signal: only zeros", 7),
        ("no signal is over", 7),
        ("angry started 0.81", 1),
        ("angry started 0.81", 1),
    ]
    assert [line.number for line in lines] == [13, 14, 15, 16]


def test_the_log_is_bounded_and_its_numbers_go_on() -> None:
    b = board()
    for i in range(LOG_LINES + 10):
        b.log("note", f"line {i}")
    lines = b.snapshot().log
    assert (len(lines), lines[0].number, lines[-1].number) == (LOG_LINES, 11, LOG_LINES + 10)


def test_a_watched_stream_appears_under_the_name_it_is_given() -> None:
    b = Board(wall=lambda: 1000.0)
    b.event(WINDOW, stream="attic/desk")
    assert [view.name for view in b.snapshot().streams] == ["attic/desk"]


def test_threads_may_post_while_another_looks() -> None:
    b = board()
    threads = [
        threading.Thread(target=lambda: [b.event(replace(WINDOW, time=1000.0 + i)) for i in range(500)])
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        b.snapshot()
    for thread in threads:
        thread.join()
    assert b.snapshot().streams[0].window is not None


def test_a_stream_that_is_forgotten_leaves_the_screen_and_late_news_of_it_does_not_bring_it_back() -> None:
    b = board()
    b.event(WINDOW)
    b.forget("desk")
    b.update("desk", attention=(1.0,), smoothed=None)
    b.update("desk", level=None)
    b.event(EmotionEnded("desk", "ab-1", 1006.0, "angry", 6.0, 0.93))
    b.forget("desk")
    assert b.snapshot().streams == ()
    assert [line.text for line in b.snapshot().log] == ["removed", "angry ended 6.0 s"]
