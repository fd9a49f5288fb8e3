"""A replay gives the same events, at the recording's pace, to a screen and to publishers."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from streamer.errors import StreamerError
from streamer.events import EmotionStarted, Event, Window, from_json
from streamer.publish.publisher import PublisherStats
from streamer.publish.topics import default_node
from streamer.sessions.replay import Replay
from tests.sessions.sessions_made import Collected, as_from_a_file, transitions, write_journal
from tests.sessions.synthetic_day import INFO, NOON, day
from tests.support.event_samples import TIME, health, window
from tests.support.real_broker import Listener, Mosquitto, eventually


def play(events: list[Event], speed: float = 1e6) -> tuple[Replay, Collected]:
    collected = Collected()
    replay = Replay(iter(events), speed, [collected])
    replay.start()
    assert replay.ended.wait(60)
    replay.stop()
    assert replay.failure is None
    return replay, collected


def test_a_day_replays_to_the_same_events() -> None:
    events = [INFO, *day()]
    _, collected = play(events)
    assert collected.events == events


def test_it_keeps_the_recording_s_pace_times_the_speed() -> None:
    events = [INFO, *(window(seq) for seq in range(11))]  # 2.4 s
    began = time.monotonic()
    _, collected = play(events, speed=4.0)
    assert 0.6 <= collected.moments[-1] - began < 5.0  # the machine may be busy


def test_a_long_pause_is_jumped_over_with_a_note() -> None:
    events = [INFO, window(0), replace(window(1), time=TIME + 7_500.0)]
    replay, collected = play(events, speed=2.0)
    assert len(collected.events) == 3
    assert any("nothing was recorded for 2 h 5 min" in line.text for line in replay.snapshot().log)


def test_the_screen_shows_the_recording_s_time_status_and_past() -> None:
    events = [INFO, *day(hours=0.05), replace(health("mic lost"), time=NOON + 180.0)]
    replay, _ = play(events)
    snapshot = replay.snapshot()
    (stream,) = snapshot.streams
    assert stream.status == "ended"
    assert any("mic lost" in line.text for line in snapshot.log)
    shown = {point.time for point in stream.timeline}
    assert {event.time for event in events if isinstance(event, Window)} <= shown
    assert abs(stream.timeline[-1].time - NOON - 180.0) < 1.0
    assert snapshot.info == INFO


def test_a_file_that_was_computed_faster_than_it_plays_is_replayed_as_it_plays() -> None:
    live = list(day(hours=0.2))
    _, collected = play([INFO, *as_from_a_file(live, NOON)])
    starts = [event.time for event in collected.events if isinstance(event, EmotionStarted)]
    wanted = [event.time for event in live if isinstance(event, EmotionStarted)]
    began = wanted[0] - starts[0]  # the first window says where the file begins
    assert starts == pytest.approx([moment - began for moment in wanted])
    assert [event.id for event in transitions(collected.events)] == [event.id for event in transitions(live)]


def test_a_recording_without_an_event_is_refused() -> None:
    with pytest.raises(StreamerError, match="There is nothing to replay"):
        Replay(iter([INFO]), 1.0)


def test_a_replay_can_be_stopped_at_once() -> None:
    replay = Replay(iter([INFO, window(0), replace(window(1), time=TIME + 9.0)]), 0.01)
    replay.start()
    began = time.monotonic()
    replay.stop()
    assert time.monotonic() - began < 2.0


@pytest.mark.slow
def test_the_command_prints_the_recorded_lines_again(tmp_path: Path) -> None:
    events = [INFO, *day(hours=0.2)]
    journal = write_journal(tmp_path / "day.jsonl", events)
    command = [sys.executable, "-m", "streamer", "replay", str(journal), "--headless", "--mqtt", "off"]
    done = subprocess.run([*command, "--speed", "100000"], capture_output=True, text=True, check=True)
    printed = [from_json(line) for line in done.stdout.splitlines()]
    assert transitions(printed) == transitions(events)
    assert [event for event in printed if isinstance(event, Window)] == [e for e in events if isinstance(e, Window)]


def test_the_screen_shows_what_the_broker_refuses_and_what_a_publisher_has_to_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stats = PublisherStats(True, "mqtt://home:1883", "", 5, 0, 0, refused=2, notice="The broker keeps no messages.")
    monkeypatch.setattr(Collected, "stats", lambda _: stats)
    replay, _ = play([INFO, window(0), window(1)])
    snapshot = replay.snapshot()
    assert (snapshot.broker.status, snapshot.broker.sent, snapshot.broker.refused) == ("online", 5, 2)
    assert [line.text for line in snapshot.log].count("The broker keeps no messages.") == 1


@pytest.mark.real
def test_a_broker_gets_the_same_transitions_under_a_node_of_its_own(tmp_path: Path) -> None:
    events = [INFO, *day(hours=2.0)]
    journal = write_journal(tmp_path / "day.jsonl", events)
    broker = Mosquitto(tmp_path).start()
    listener = Listener(broker.port, ["streamer/#"], qos=1)
    try:
        command = [sys.executable, "-m", "streamer", "replay", str(journal), "--headless", "--mqtt", broker.url]
        subprocess.run([*command, "--speed", "100000"], stdout=subprocess.DEVNULL, check=True)
        eventually(lambda: len(listener.payloads("/transition")) == len(transitions(events)))
    finally:
        listener.close()
        broker.stop()
    assert [from_json(payload) for payload in listener.payloads("/transition")] == transitions(events)
    assert {topic.split("/")[1].removesuffix("-replay") for topic, _, _ in listener.messages} == {default_node()}
    assert all("-replay/" in topic for topic, _, _ in listener.messages)
