"""The recorded past on the timeline."""

from dataclasses import replace
from pathlib import Path

from streamer.feed.board import Board
from streamer.sessions.past import DENSE_S, recall_past
from streamer.sessions.recorder import Recorder
from streamer.settings import RecordConfig
from tests.sessions.synthetic_day import INFO, NOON, day
from tests.support.event_samples import TIME, state, window


def record_hours(folder: Path, hours: float) -> None:
    recorder = Recorder(folder, RecordConfig(), wait=True, wall=lambda: NOON)
    recorder.start()
    for event in (INFO, *day(hours=hours, every_s=0.5)):
        recorder.publish(event)
    recorder.close()


def board(now: float, timeline_s: float = 3600.0) -> Board:
    return Board(("desk",), timeline_s=timeline_s, wall=lambda: now)


def test_after_a_restart_the_timeline_shows_the_emotions_that_were_held_before(tmp_path: Path) -> None:
    record_hours(tmp_path, 1.0)
    now = NOON + 3_600.5
    screen = board(now)
    recall_past(tmp_path, ("desk",), screen, lambda: now)
    (stream,) = screen.snapshot().streams
    held = {round(event.time, 1): event.label for event in day(1.0, 0.5) if event.type == "window"}
    assert len(stream.timeline) > DENSE_S / 0.5
    assert all(point.label == held[round(point.time, 1)] for point in stream.timeline)
    dense = [point for point in stream.timeline if point.time >= now - DENSE_S]
    assert len(dense) == DENSE_S / 0.5
    assert stream.window is None, "nothing of this run was heard yet"


def test_the_past_comes_before_what_this_run_has_heard_already(tmp_path: Path) -> None:
    record_hours(tmp_path, 0.1)
    now = NOON + 400.0
    screen = board(now)
    screen.event(replace(window(0), time=NOON + 380.0))
    recall_past(tmp_path, ("desk",), screen, lambda: now)
    times = [point.time for point in screen.snapshot().streams[0].timeline]
    assert times == sorted(times)
    assert times[-1] == NOON + 380.0
    assert times[0] < NOON + 10.0


def test_another_stream_s_past_is_left_out_and_one_longer_than_the_timeline_is_thinned(tmp_path: Path) -> None:
    record_hours(tmp_path, 0.1)
    screen = board(NOON + 400.0, timeline_s=100.0)
    recall_past(tmp_path, ("desk", "mic"), screen, lambda: NOON + 400.0)
    desk, *_ = screen.snapshot().streams
    older = [point.time for point in desk.timeline if point.time < NOON + 250.0]
    assert older[0] < NOON + 10.0
    assert len(older) < 250 / 2 + 20
    assert all(stream.timeline == () for stream in screen.snapshot().streams if stream.name == "mic")


def test_an_empty_folder_and_a_damaged_file_leave_the_timeline_empty(tmp_path: Path) -> None:
    screen = board(TIME)
    recall_past(tmp_path, ("desk",), screen, lambda: TIME)
    (tmp_path / "2026-11-22.jsonl.gz").write_bytes(b"no gzip")
    recall_past(tmp_path, ("desk",), screen, lambda: TIME)
    recall_past(tmp_path / "missing", ("desk",), screen, lambda: TIME)
    assert screen.snapshot().streams[0].timeline == ()


def test_lost_audio_is_marked_however_long_ago(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, RecordConfig(), wait=True, wall=lambda: TIME)
    recorder.start()
    events = [replace(window(seq), dropped_samples=24 * (seq == 3)) for seq in range(20)]
    for event in (INFO, state(), *events):
        recorder.publish(event)
    recorder.close()
    screen = board(TIME + 3_000.0)
    recall_past(tmp_path, ("desk",), screen, lambda: TIME + 3_000.0)
    timeline = screen.snapshot().streams[0].timeline
    assert [point.lost for point in timeline].count(True) == 1
    assert all(point.label == "happy" for point in timeline)
