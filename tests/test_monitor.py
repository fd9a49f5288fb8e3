"""The monitor: streams come and go at any moment, are announced, and yield events."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from streamer.emotion.profile import profile_folder, stored_names
from streamer.emotion.tracker import ClaimRule, TrackerSettings
from streamer.errors import StreamerError, UsageError
from streamer.events import EmotionEnded, Event, Info, Window
from streamer.monitor import Monitor
from streamer.pipeline.stream import StreamSettings
from streamer.publish.publisher import PublisherStats
from streamer.settings import AudioConfig, ModelConfig, MqttConfig, Settings
from streamer.sources.open import SourceSpec
from tests.support.fakes import FakeInference, FakeSource

HOP_SAMPLES = 18 * 320
SETTINGS = StreamSettings(("neutral", "happy"), 36, 18, ClaimRule(0.5), TrackerSettings(0.5, 0.4, 0.0, 0.0, 1.0))


class Kept(list[Event]):
    """A publisher that keeps what it is given."""

    def start(self) -> None: ...

    def close(self) -> None: ...

    def publish(self, event: Event) -> None:
        self.append(event)

    def stats(self) -> PublisherStats:
        return PublisherStats(True, "list", "", len(self), 0, 0)


class WatchedSource(FakeSource):
    """Says whether it was started and stopped."""

    started = stopped = False

    def start(self) -> None:
        if self.state == "failed":
            raise StreamerError("It cannot ever work.")
        self.started = True

    def stop(self) -> None:
        self.stopped = True

    def speak(self, hops: int) -> None:
        self.ring.write(np.full(hops * HOP_SAMPLES, 0.1, dtype=np.float32))


class Bench:
    """A monitor whose model is a fake, loaded when `loaded` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.loaded = threading.Event()
        self.kept = Kept()
        self.sources = [WatchedSource(name) for name in names]
        monkeypatch.setattr("streamer.pipeline.build.build_inference", self.build)
        monkeypatch.setattr("streamer.pipeline.build.stream_settings", lambda *_: SETTINGS)
        monkeypatch.setattr(
            "streamer.pipeline.build.describe", lambda _, __, names, calibrated: info(names, calibrated)
        )
        self.monitor = Monitor()
        self.monitor.publish_to(self.kept)
        for source in self.sources:
            self.monitor.add(source)

    def build(self, _: Settings, rows: int, *, warm: bool) -> FakeInference:
        self.loaded.wait(5)
        inference = FakeInference(rows)
        inference.device, inference.model = "cpu", SimpleNamespace(sha256="ab")  # type: ignore[attr-defined]
        return inference

    @property
    def rosters(self) -> list[tuple[str, ...]]:
        return [event.streams for event in self.kept if isinstance(event, Info)]

    def of(self, kind: type[Event], stream: str) -> list:
        return [event for event in list(self.kept) if isinstance(event, kind) and event.stream == stream]

    def names(self) -> list[str]:
        return [view.name for view in self.monitor.snapshot().streams]


def info(streams: Sequence[str], calibrated: Collection[str]) -> Info:
    names = tuple(name for name in streams if name in calibrated)
    return Info("0.1", "m", "ab", ("happy",), 24000, 3.0, 0.24, tuple(streams), names)


def until(done: Callable[[], object]) -> None:
    for _ in range(500):
        if done():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen within 5 s")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    bench = Bench(monkeypatch, "desk")
    yield bench
    bench.loaded.set()
    bench.monitor.stop()


@pytest.mark.parametrize("loaded_first", [True, False])
def test_an_added_stream_runs_is_shown_and_announced(bench: Bench, loaded_first: bool) -> None:
    bench.monitor.start()
    if loaded_first:
        bench.loaded.set()
        until(lambda: bench.sources[0].started)
    door = WatchedSource("door")
    bench.monitor.add(door)
    bench.loaded.set()
    until(lambda: door.started)
    door.speak(1)
    until(lambda: bench.of(Window, "door"))
    assert bench.names() == ["desk", "door"]
    assert bench.rosters[-1] == ("desk", "door")


def test_freed_memory_is_given_back_again_and_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    times = []
    monkeypatch.setattr("streamer.monitor.lookout.TRIM_S", 0.01)
    monkeypatch.setattr("streamer.monitor.lookout.return_freed_memory", lambda: times.append(time.monotonic()))
    monkeypatch.setattr("streamer.monitor.lookout.LOOK_S", 0.01)
    bench.monitor.start()
    until(lambda: len(times) > 2)


@pytest.mark.parametrize("loaded_first", [True, False])
def test_a_stream_that_goes_is_stopped_forgotten_and_announced(
    monkeypatch: pytest.MonkeyPatch, loaded_first: bool
) -> None:
    bench = Bench(monkeypatch, "desk", "door")
    bench.monitor.start()
    desk, door = bench.sources
    if loaded_first:
        bench.loaded.set()
        until(lambda: door.started)
        door.speak(2)
        until(lambda: len(bench.of(Window, "door")) == 2)
    bench.monitor.remove("door")
    bench.loaded.set()
    until(lambda: bench.rosters and bench.rosters[-1] == ("desk",))
    assert door.stopped
    assert door.started == loaded_first
    assert len(bench.of(EmotionEnded, "door")) == loaded_first
    until(lambda: bench.names() == ["desk"])
    desk.speak(1)
    until(lambda: bench.of(Window, "desk"))
    bench.monitor.stop()
    assert not bench.monitor.failed.is_set()


def test_names_that_are_taken_or_unknown_are_refused(bench: Bench) -> None:
    with pytest.raises(UsageError, match="named 'desk' already"):
        bench.monitor.add(WatchedSource("desk"))
    for ask in (bench.monitor.remove, lambda name: bench.monitor.mute(name, True)):
        with pytest.raises(UsageError, match="no stream named 'door'; there are: desk"):
            ask("door")


def detail(bench: Bench) -> str:
    (view,) = bench.monitor.snapshot().streams
    return view.detail if view.status == "paused" else ""


def test_a_mute_is_shown_with_who_muted_and_outlives_the_monitor(bench: Bench) -> None:
    bench.loaded.set()
    bench.monitor.start()
    until(lambda: bench.sources[0].started)
    bench.monitor.mute("desk", True)
    assert bench.sources[0].state == "muted"
    until(lambda: detail(bench).startswith("Muted at the keyboard, "))
    later = Monitor()
    source = WatchedSource("desk")
    later.add(source)
    assert source.state == "muted"
    assert any(notice.startswith("desk: Muted at the keyboard, ") for notice in later.notices())
    later.mute("desk", False)
    assert source.state == "live"
    until(lambda: bench.sources[0].state == "live")  # every monitor of this user follows


@pytest.mark.parametrize("allowed", [False, True])
def test_anybody_may_mute_over_mqtt_but_lift_it_only_where_that_is_allowed(allowed: bool) -> None:
    monitor, source = Monitor(Settings(mqtt=MqttConfig(remote_unmute=allowed))), WatchedSource("desk")
    monitor.add(source)
    monitor.mute_remotely("nobody", True)
    monitor.mute_remotely("desk", True)
    assert source.state == "muted"
    monitor.mute_remotely("desk", False)
    assert source.state == ("live" if allowed else "muted")
    log = [line.text for line in monitor.snapshot().log]
    assert any("remote_unmute" in line for line in log) != allowed
    assert any("no stream named 'nobody'" in line for line in log)
    monitor.mute("desk", False)
    assert source.state == "live"


def test_a_source_that_cannot_work_is_refused_and_the_others_go_on(bench: Bench) -> None:
    bench.loaded.set()
    bench.monitor.start()
    until(lambda: bench.sources[0].started)
    with pytest.raises(StreamerError, match="cannot ever work"):
        bench.monitor.add(WatchedSource("door", state="failed"))
    bench.sources[0].speak(1)
    until(lambda: bench.of(Window, "desk"))
    assert bench.names() == ["desk"]


def test_a_monitor_that_has_ended_takes_no_more_streams(bench: Bench) -> None:
    bench.loaded.set()
    bench.monitor.start()
    until(lambda: bench.sources[0].started)
    bench.monitor.remove("desk")
    assert bench.monitor.ended.wait(5)
    door = WatchedSource("door")
    with pytest.raises(StreamerError, match="has ended"):
        bench.monitor.add(door)
    assert not door.started


@pytest.mark.parametrize("loaded_first", [True, False])
def test_a_source_is_exchanged_and_a_mute_stays(bench: Bench, loaded_first: bool) -> None:
    bench.monitor.start()
    if loaded_first:
        bench.loaded.set()
        until(lambda: bench.sources[0].started)
    bench.monitor.mute("desk", True)
    other = WatchedSource("desk")
    bench.monitor.replace(other)
    bench.loaded.set()
    until(lambda: other.started)
    assert other.state == "muted"
    until(lambda: bench.sources[0].stopped)
    other.speak(1)
    until(lambda: bench.of(Window, "desk"))
    assert bench.names() == ["desk"]


def test_a_stream_whose_new_source_cannot_work_goes_on_as_it_was(bench: Bench) -> None:
    bench.loaded.set()
    bench.monitor.start()
    until(lambda: bench.sources[0].started)
    with pytest.raises(StreamerError, match="cannot ever work"):
        bench.monitor.replace(WatchedSource("desk", state="failed"))
    assert not bench.sources[0].stopped
    bench.sources[0].speak(1)
    until(lambda: bench.of(Window, "desk"))


@pytest.mark.parametrize("loaded_first", [True, False])
def test_other_thresholds_reach_the_worker_also_while_the_model_loads(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, loaded_first: bool
) -> None:
    monkeypatch.setattr(
        "streamer.pipeline.build.stream_settings",
        lambda settings, _: replace(SETTINGS, rule=ClaimRule(0.95 if settings.model.threshold == 0.95 else 0.5)),
    )
    bench.monitor.start()
    if loaded_first:
        bench.loaded.set()
        until(lambda: bench.sources[0].started)
    bench.monitor.configure(Settings(model=ModelConfig(threshold=0.95)))
    bench.loaded.set()
    until(lambda: bench.sources[0].started)
    bench.sources[0].speak(2)
    until(lambda: len(bench.of(Window, "desk")) == 2)
    assert [window.label for window in bench.of(Window, "desk")] == [None, None]


def with_neutral_mean(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint of `bench` has a neutral mean."""
    settings = replace(SETTINGS, neutral_mean=(0.5,) * 128)
    monkeypatch.setattr("streamer.pipeline.build.stream_settings", lambda *_: settings)


def test_a_speaker_is_enrolled_while_the_stream_runs_and_the_profile_kept_for_the_next_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_neutral_mean(bench, monkeypatch)
    bench.loaded.set()
    bench.monitor.calibrate("desk", wanted_s=0.5)  # before there is a worker: it begins with it
    bench.monitor.start()
    until(lambda: bench.sources[0].started)
    for heard in (2, 4):
        bench.sources[0].speak(2)
        until(lambda heard=heard: len(bench.of(Window, "desk")) == heard)
    until(lambda: stored_names() == ("desk",))
    until(lambda: [event.calibrated for event in bench.kept if isinstance(event, Info)] == [(), ("desk",)])
    bench.monitor.stop()

    again = Bench(monkeypatch, "desk", "door")
    with_neutral_mean(again, monkeypatch)
    again.loaded.set()
    again.monitor.start()
    until(lambda: again.rosters)
    assert [event.calibrated for event in again.kept if isinstance(event, Info)] == [("desk",)]
    assert [view.calibrated for view in again.monitor.snapshot().streams] == [True, False]
    again.monitor.stop()


def test_a_cancelled_enrolment_leaves_no_profile(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with_neutral_mean(bench, monkeypatch)
    bench.loaded.set()
    bench.monitor.calibrate("desk", wanted_s=0.5)
    bench.monitor.cancel_calibration("desk")
    bench.monitor.start()
    until(lambda: bench.sources[0].started)
    bench.monitor.calibrate("desk", wanted_s=0.5)
    until(lambda: bench.monitor.snapshot().streams[0].enrolment is not None)
    bench.monitor.cancel_calibration("desk")
    until(lambda: bench.monitor.snapshot().streams[0].enrolment is None)
    for heard in (2, 4):
        bench.sources[0].speak(2)
        until(lambda heard=heard: len(bench.of(Window, "desk")) == heard)
    bench.monitor.stop()
    assert stored_names() == ()


def test_a_profile_that_cannot_be_used_is_reported_and_the_stream_runs_without_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_neutral_mean(bench, monkeypatch)
    profile_folder().mkdir(parents=True)
    (profile_folder() / "desk.json").write_text("{")
    bench.loaded.set()
    bench.monitor.start()
    until(lambda: bench.sources[0].started)
    (notice,) = bench.monitor.notices()
    assert "is damaged and is ignored" in notice
    bench.sources[0].speak(1)
    until(lambda: bench.of(Window, "desk"))


def test_two_readers_see_the_same_level(bench: Bench) -> None:
    bench.loaded.set()
    bench.monitor.start()
    until(lambda: bench.sources[0].started)
    bench.sources[0].speak(4)
    until(lambda: bench.monitor.snapshot().streams[0].level is not None)
    until(lambda: bench.of(Window, "desk"))
    first, second = bench.monitor.snapshot().streams[0], bench.monitor.snapshot().streams[0]
    assert first.level == second.level
    assert first.level is not None
    assert first.level.rms_dbfs == pytest.approx(-20.0, abs=0.1)


def test_the_monitor_wakes_for_audio_of_a_source_that_was_opened_elsewhere(bench: Bench) -> None:
    assert bench.sources[0].ring.on_write is bench.monitor._roster.wake


def test_iterating_yields_every_event_until_all_sources_are_over(bench: Bench) -> None:
    bench.loaded.set()
    bench.sources[0].speak(2)  # three would count as being behind
    bench.sources[0].ring.end()
    with bench.monitor as monitor:
        events = list(monitor)
    assert events == bench.kept
    assert [event.end_s for event in events if isinstance(event, Window)] == pytest.approx([0.24, 0.48])
    assert bench.sources[0].stopped
    assert monitor.events_lost == 0


def test_iterating_raises_what_failed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **options: object) -> None:
        raise StreamerError("The checkpoint is damaged; get it again.")

    monkeypatch.setattr("streamer.pipeline.build.build_inference", broken)
    with bench.monitor as monitor, pytest.raises(StreamerError, match="damaged"):
        list(monitor)


def test_a_monitor_that_was_not_entered_keeps_no_events(bench: Bench) -> None:
    with pytest.raises(StreamerError, match="with Monitor"):
        next(iter(bench.monitor))


def test_leaving_the_loop_early_stops_the_monitor(bench: Bench) -> None:
    bench.loaded.set()
    with bench.monitor as monitor:
        until(lambda: bench.sources[0].started)
        bench.sources[0].speak(3)
        for event in monitor:
            if isinstance(event, Window):
                break
    assert bench.sources[0].stopped
    assert monitor.ended.is_set()


def test_sources_are_opened_by_their_names() -> None:
    monitor = Monitor.open("demo", fast=True)
    assert monitor.add("talks/Monday.flac") == "monday"
    assert monitor.add(SourceSpec("recording", "talk.flac"), name="door") == "door"
    assert [view.name for view in monitor.snapshot().streams] == ["demo", "monday", "door"]
    with pytest.raises(UsageError, match="named 'demo' already"):
        monitor.add("demo")
    with pytest.raises(UsageError, match="names no source"):
        monitor.add("")
    monitor.stop()


def test_the_settings_name_the_source_where_the_caller_names_none() -> None:
    monitor = Monitor.open(settings=Settings(audio=AudioConfig(source="talk.flac")))
    assert [view.name for view in monitor.snapshot().streams] == ["talk"]


def test_the_brokers_url_is_checked_when_the_monitor_is_opened() -> None:
    with pytest.raises(UsageError):
        Monitor.open("demo", mqtt="not a url")
    Monitor.open("demo", mqtt="mqtt://127.0.0.1:9").stop()


def test_the_screen_shows_the_publisher_that_has_a_broker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    stats = PublisherStats(False, "mqtt://home:1883", "Nothing listens there.", 0, 7, 1)
    monkeypatch.setattr(bench.kept, "stats", lambda: stats)
    assert bench.monitor.snapshot().broker.status == "off"
    bench.monitor.start()
    until(lambda: bench.monitor.snapshot().broker.status == "offline")
    view = bench.monitor.snapshot().broker
    assert (view.url, view.detail, view.queued, view.shed) == ("mqtt://home:1883", "Nothing listens there.", 7, 1)
    assert "broker offline: Nothing listens there." in [line.text for line in bench.monitor.snapshot().log]


def test_a_monitor_that_has_ended_takes_no_stream(bench: Bench) -> None:
    bench.monitor.ended.set()
    with pytest.raises(StreamerError, match="The monitor has ended and cannot add 'door'"):
        bench.monitor.add(WatchedSource("door"))


def test_nobody_fills_the_log_by_unmuting_streams_that_there_are_not(bench: Bench) -> None:
    before = len(bench.monitor.snapshot().log)
    bench.monitor.mute_remotely("nobody", False)
    assert len(bench.monitor.snapshot().log) == before
