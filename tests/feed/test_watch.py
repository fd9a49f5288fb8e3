"""The watcher's feed: several nodes on one board, and statuses from what a broker carries."""

from dataclasses import replace

import pytest

from streamer.events import EmotionEnded, EmotionStarted, Info, Status
from streamer.feed.snapshot import CaptureControls
from streamer.feed.watch import MAX_NODES, MAX_STREAMS, WatchFeed
from tests.feed.test_board import HEALTH, STATE, WINDOW


def feed() -> WatchFeed:
    return WatchFeed("mqtt://broker:1883")


def test_streams_of_several_nodes_are_kept_apart() -> None:
    f = feed()
    f.on_event("attic", WINDOW)
    f.on_event("cellar", replace(WINDOW, label="sad"))
    labels = {view.name: view.window.label for view in f.snapshot().streams if view.window}
    assert labels == {"attic/desk": "happy", "cellar/desk": "sad"}


def test_windows_tell_the_status_until_health_knows_better() -> None:
    f = feed()
    for window, word in (
        (replace(WINDOW, warming=True), "warming"),
        (WINDOW, "live"),
        (replace(WINDOW, probs=None, label=None, confidence=None), "silence"),
    ):
        f.on_event("attic", window)
        assert f.snapshot().streams[0].status == word
    f.on_event("attic", replace(HEALTH, status="mic lost"))
    assert f.snapshot().streams[0].status == "mic lost"


@pytest.mark.parametrize("word", ["no signal", "behind", "no device", "mic lost", "source lost", "paused"])
def test_what_health_alone_knows_stays_until_health_says_otherwise(word: Status) -> None:
    f = feed()
    f.on_event("attic", replace(HEALTH, status=word))
    f.on_event("attic", WINDOW)
    assert f.snapshot().streams[0].status == word
    f.on_event("attic", replace(HEALTH, status="live"))
    f.on_event("attic", replace(WINDOW, probs=None, label=None, confidence=None))
    assert f.snapshot().streams[0].status == "silence"


def test_a_monitor_that_was_killed_and_started_anew_is_live_again() -> None:
    f = feed()
    f.on_event("attic", replace(HEALTH, status="mic lost"))
    f.on_availability("attic", False)
    f.on_availability("attic", True)
    f.on_event("attic", WINDOW)
    assert f.snapshot().streams[0].status == "live"


def test_what_the_broker_does_not_carry_is_none() -> None:
    f = feed()
    for event in (WINDOW, STATE, HEALTH):
        f.on_event("attic", event)
    (view,) = f.snapshot().streams
    assert (view.level, view.attention, view.smoothed) == (None, None, None)
    assert (f.snapshot().broker.sent, f.snapshot().torch_device) == (None, None)


def test_a_monitor_that_goes_offline_is_shown_as_ended_with_the_reason() -> None:
    f = feed()
    f.on_event("attic", WINDOW)
    f.on_availability("attic", False)
    (view,) = f.snapshot().streams
    assert view.status == "ended"
    assert "offline" in view.detail
    assert [line.text for line in f.snapshot().log] == ["attic is offline"]


def test_info_link_and_malformed_messages_reach_the_board() -> None:
    f = feed()
    f.on_event("attic", Info("0.1", "m", "ab", ("happy",), 24_000, 3.0, 0.24, ("desk",)))
    f.on_link("offline", "Nothing listens there.")
    f.on_malformed("streamer/attic/desk/window", "not JSON")
    snapshot = f.snapshot()
    assert snapshot.info is not None
    assert (snapshot.broker.status, snapshot.broker.detail) == ("offline", "Nothing listens there.")
    assert snapshot.log[-1].text == "streamer/attic/desk/window: not JSON"


def test_a_watcher_cannot_touch_the_microphone() -> None:
    controls = [name for name in vars(CaptureControls) if not name.startswith("_")]
    assert {"mute", "choose_device", "calibrate"} <= set(controls)
    assert [name for name in controls if hasattr(feed(), name)] == []


def test_a_transition_that_is_delivered_twice_is_logged_once() -> None:
    f = feed()
    started = EmotionStarted("desk", "ab-1", 1000.0, "angry", None, 0.81, 0.0)
    for node in ("attic", "attic", "cellar"):
        f.on_event(node, started)
    assert [line.stream for line in f.snapshot().log] == ["attic/desk", "cellar/desk"]


def info(*streams: str) -> Info:
    return Info("0.1", "m", "ab", ("happy",), 24000, 3.0, 0.24, streams)


def test_a_stream_that_its_node_no_longer_lists_leaves_the_screen() -> None:
    f = feed()
    f.on_event("attic", info("desk", "door"))
    for node, stream in (("attic", "desk"), ("attic", "door"), ("cellar", "door")):
        f.on_event(node, replace(WINDOW, stream=stream))
    f.on_event("attic", info("desk"))
    assert [view.name for view in f.snapshot().streams] == ["attic/desk", "cellar/door"]


@pytest.mark.parametrize("info_first", [True, False])
def test_a_voice_profile_in_use_is_shown_whichever_message_comes_first(info_first: bool) -> None:
    f = feed()
    messages = [replace(info("desk", "door"), calibrated=("door",)), WINDOW, replace(WINDOW, stream="door")]
    for event in messages if info_first else messages[::-1]:
        f.on_event("attic", event)
    shown = {view.name: view.calibrated for view in f.snapshot().streams}
    assert shown == {"attic/desk": False, "attic/door": True}


def test_what_the_list_has_overtaken_does_not_bring_a_stream_back() -> None:
    f = feed()
    f.on_event("attic", replace(WINDOW, stream="door"))
    f.on_event("attic", info("desk"))
    late = (
        replace(STATE, stream="door", label=None),
        replace(HEALTH, stream="door", status="ended"),
        EmotionEnded("door", "ab-1", 1006.0, "angry", 6.0, 0.93),
    )
    for event in late:
        f.on_event("attic", event)
    f.on_availability("attic", False)
    assert f.snapshot().streams == ()
    assert "angry ended 6.0 s" in [line.text for line in f.snapshot().log]


def test_a_stream_that_comes_back_is_shown_again() -> None:
    f = feed()
    f.on_event("attic", WINDOW)
    f.on_event("attic", info())
    f.on_event("attic", info("desk"))
    f.on_event("attic", WINDOW)
    assert [(view.name, view.status) for view in f.snapshot().streams] == [("attic/desk", "live")]


def test_malformed_messages_are_counted_and_the_first_of_each_topic_is_logged() -> None:
    f = feed()
    f.on_link("online", "")
    for topic in ("a", "a", "b"):
        f.on_malformed(topic, "not JSON")
    snapshot = f.snapshot()
    assert (snapshot.broker.status, snapshot.broker.malformed) == ("online", 3)
    assert [line.text for line in snapshot.log if line.kind == "note"] == ["a: not JSON", "b: not JSON"]


def test_many_streams_and_monitors_are_bounded_and_what_is_left_out_is_said_once() -> None:
    f = feed()
    for number in range(2 * MAX_STREAMS):
        f.on_event("attic", replace(WINDOW, stream=f"s{number}"))
    for number in range(2 * MAX_NODES):
        f.on_event(f"node{number}", WINDOW)
    assert len(f.snapshot().streams) == MAX_STREAMS
    assert len([line for line in f.snapshot().log if "--node" in line.text]) == 1


def test_a_monitor_that_is_offline_makes_room_for_a_new_one() -> None:
    f = feed()
    for number in range(MAX_STREAMS):
        f.on_event(f"node{number % 2}", replace(WINDOW, stream=f"s{number}"))
    f.on_availability("node1", False)
    f.on_event("new", WINDOW)
    shown = {view.name for view in f.snapshot().streams}
    assert "new/desk" in shown
    assert "node0/s0" in shown
    assert "node1/s1" not in shown
