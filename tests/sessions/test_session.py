"""What a journal says: emotions, gaps and losses, across kills and restarts."""

from dataclasses import replace

import pytest

from streamer.events import EmotionEnded, EmotionStarted, Event, Health, Window
from streamer.sessions.session import NOT_RECORDED, only_streams, read_session
from tests.sessions.sessions_made import as_from_a_file, transitions
from tests.sessions.synthetic_day import INFO, NOON, day
from tests.support.event_samples import TIME, health, window


def started(number: int, at_s: float, label: str = "angry", stream: str = "desk") -> EmotionStarted:
    return EmotionStarted(stream, f"k3f9-{number:06}", TIME + at_s, label, None, 0.7, at_s)


def ended(number: int, at_s: float, duration_s: float, label: str = "angry") -> EmotionEnded:
    return EmotionEnded("desk", f"k3f9-{number:06}", TIME + at_s, label, duration_s, 0.93)


def windows(first: int, last: int, begin: float = TIME, run: int = 0) -> list[Event]:
    """One a second, of a stream that began at `begin`."""
    return [
        replace(window(seq), time=begin + seq + 1, start_s=max(0.0, seq - 2.0), end_s=seq + 1.0)
        for seq in range(first, last)
    ]


def test_every_emotion_of_a_day_is_an_interval_with_its_times() -> None:
    events = list(day())
    (stream,) = read_session([INFO, *events]).streams
    wanted = transitions(events)
    assert [i.start for i in stream.intervals] == [e.time for e in wanted if isinstance(e, EmotionStarted)]
    assert [i.end for i in stream.intervals] == [e.time for e in wanted if isinstance(e, EmotionEnded)]
    assert all(i.closed for i in stream.intervals)
    assert stream.clock == "wall"
    assert stream.begin == pytest.approx(NOON)
    assert stream.heard_s == pytest.approx(24 * 3600, abs=1.1)  # the first window's audio before it is not counted
    assert stream.gaps == ()


def test_of_a_file_the_positions_count_and_not_the_moment_of_computation() -> None:
    live = read_session([INFO, *day(hours=1.0)])
    fast = read_session([INFO, *as_from_a_file(day(hours=1.0), TIME)])
    assert fast.streams[0].clock == "audio"
    for one, other in zip(live.streams[0].intervals, fast.streams[0].intervals, strict=True):
        assert fast.streams[0].seconds(other, fast.begin) == pytest.approx(live.streams[0].seconds(one, live.begin))
    assert fast.streams[0].gaps == ()


def test_an_emotion_that_a_kill_left_open_ends_with_the_last_window_of_its_run() -> None:
    first = [INFO, *windows(0, 10), started(0, 5.0), *windows(10, 20)]
    second = [INFO, *windows(0, 10, begin=TIME + 100.0)]
    (stream,) = read_session([*first, *second]).streams
    (interval,) = stream.intervals
    assert (interval.end, interval.end_s, interval.closed) == (TIME + 20.0, 20.0, False)
    assert [(gap.start, gap.end, gap.reason) for gap in stream.gaps] == [(TIME + 20.0, TIME + 100.0, NOT_RECORDED)]
    assert stream.audio_s == 30.0


def test_the_end_that_the_next_run_publishes_for_it_does_not_stretch_it_over_the_gap() -> None:
    first = [INFO, *windows(0, 10), started(0, 5.0), *windows(10, 20)]
    second = [INFO, ended(0, 100.0, 95.0), *windows(0, 10, begin=TIME + 100.0)]
    (stream,) = read_session([*first, *second]).streams
    (interval,) = stream.intervals
    assert (interval.start, interval.end) == (TIME + 5.0, TIME + 20.0)


def test_an_end_whose_start_was_not_kept_is_placed_by_its_duration() -> None:
    (stream,) = read_session([INFO, *windows(0, 10), ended(3, 8.0, 6.0)]).streams
    (interval,) = stream.intervals
    assert (interval.start, interval.end) == (TIME + 2.0, TIME + 8.0)


def test_two_runs_whose_ids_are_the_same_by_chance_keep_their_emotions_apart() -> None:
    first = [INFO, *windows(0, 5), started(0, 5.0), *windows(5, 20), ended(0, 18.0, 13.0)]
    second = [INFO, *windows(0, 5, begin=TIME + 100.0)]
    second += [replace(started(0, 105.0), start_s=5.0), *windows(5, 20, begin=TIME + 100.0), ended(0, 118.0, 13.0)]
    (stream,) = read_session([*first, *second]).streams
    assert [(i.start, i.end) for i in stream.intervals] == [(TIME + 5, TIME + 18), (TIME + 105, TIME + 118)]


def test_transitions_that_came_twice_count_once() -> None:
    twice = [started(0, 1.0), started(0, 1.0), *windows(0, 9), ended(0, 8.0, 7.0), ended(0, 8.0, 7.0)]
    (stream,) = read_session([INFO, *twice]).streams
    assert len(stream.intervals) == 1
    assert stream.intervals[0].end == TIME + 8.0


@pytest.mark.parametrize("status", ["paused", "mic lost", "no device", "no signal", "source lost"])
def test_a_gap_is_marked_with_the_status_that_explains_it(status: str) -> None:
    silent = replace(health(), status=status, time=TIME + 12.0)
    later = [replace(event, time=event.time + 50.0) for event in windows(10, 20)]
    (stream,) = read_session([INFO, *windows(0, 10), silent, *later]).streams
    assert [gap.reason for gap in stream.gaps] == [status]
    assert stream.gaps[0].start == TIME + 10.0


def test_throttled_windows_are_no_gap_and_lost_audio_is_counted() -> None:
    some = [event for event in windows(0, 100) if isinstance(event, Window) and event.seq % 10 == 0]
    some[5] = replace(some[5], dropped_samples=480)
    (stream,) = read_session([INFO, *some, replace(health(), skipped_windows=7, overflow_events=2)]).streams
    assert stream.gaps == ()
    assert [loss.samples for loss in stream.losses] == [480]
    assert (stream.skipped_windows, stream.overflow_events) == (7, 2)


def test_only_the_streams_that_were_named_are_read() -> None:
    events = [INFO, window(0), window(0, stream="hall"), health(stream="hall")]
    assert [e for e in only_streams(events, ("hall",)) if isinstance(e, Window | Health)] == events[2:]
    assert list(only_streams(events, ())) == events
