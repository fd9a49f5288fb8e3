"""The worker: every sample is encoded once, every loss is counted, and the events carry both."""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.emotion.tracker import ClaimRule, TrackerSettings
from streamer.errors import UsageError
from streamer.events import EmotionEnded, EmotionStarted, Event, Health, State, Window
from streamer.feed.board import Board
from streamer.pipeline.stream import StreamSettings
from streamer.pipeline.windows import WindowResult
from streamer.pipeline.worker import Worker
from streamer.sources.source import SourceState
from tests.support.fakes import FakeClock, FakeInference, FakeSink, FakeSource

HOP_SAMPLES = 18 * 320  # samples
LABELS = ("neutral", "happy")


class Bench:
    """A worker among fakes, ticked by hand."""

    def __init__(
        self, *sources: FakeSource, answer: Callable[[int, int], tuple[float, ...] | None] | None = None
    ) -> None:
        self.sources = sources or (FakeSource(),)
        self.source = self.sources[0]
        self.inference = FakeInference(rows=len(self.sources))
        if answer is not None:
            self.inference.answer = answer
        self.clock = FakeClock()
        self.board = Board([s.name for s in self.sources], wall=self.clock.time)
        self.sink = FakeSink(self.board)
        self.events, self.rosters = self.sink.events, self.sink.rosters
        self.settings = StreamSettings(
            labels=LABELS,
            window_frames=self.inference.window_frames,
            hop_frames=self.inference.hop_frames,
            rule=ClaimRule(threshold=0.5),
            tracker=TrackerSettings(enter=0.5, exit=0.4, smoothing_s=0.0, dwell_s=0.0, hang_s=1.0),
        )
        self.worker = Worker(
            self.inference,  # type: ignore[arg-type]
            self.sources,
            self.settings,
            sink=self.sink,
            clock=self.clock,
        )

    def feed(self, hops: float, source: FakeSource | None = None, captured: float | None = None) -> None:
        ring = (source or self.source).ring
        samples = np.full(round(hops * HOP_SAMPLES), 0.1, dtype=np.float32)
        position = ring.stats().written + len(samples)
        ring.write(samples, None if captured is None else (position, captured))

    def until(self, done: Callable[[], bool]) -> None:
        """Wait for what the worker does in its own thread."""
        for _ in range(500):
            if done():
                return
            time.sleep(0.01)
        raise AssertionError("it did not happen within 5 s")

    def of(self, kind: type[Event], stream: str = "desk") -> list:
        return [e for e in self.events if isinstance(e, kind) and e.stream == stream]

    @property
    def windows(self) -> list[Window]:
        return self.of(Window)


def test_every_hop_gives_a_window_whose_end_is_its_sample_position() -> None:
    bench = Bench()
    for _ in range(25):
        bench.feed(1)
        bench.worker.tick()
    assert [w.seq for w in bench.windows] == list(range(25))
    assert [w.end_s for w in bench.windows] == [(i + 1) * HOP_SAMPLES / 24_000 for i in range(25)]
    assert all(w.end_s - w.start_s == pytest.approx(0.48) for w in bench.windows[1:])


def test_chunks_that_are_no_whole_hops_lose_nothing() -> None:
    bench = Bench()
    for hops in (0.3, 0.9, 1.7, 1.1, 1.0):
        bench.feed(hops)
        bench.worker.tick()
    assert len(bench.windows) == 5


def test_a_window_is_warming_and_claims_nothing_until_it_is_full() -> None:
    bench = Bench()
    for _ in range(3):
        bench.feed(1)
        bench.worker.tick()
    assert [(w.warming, w.label) for w in bench.windows] == [(True, None), (False, "happy"), (False, "happy")]
    assert bench.windows[0].start_s == 0.0


def test_the_worker_meters_the_input_while_it_is_captured() -> None:
    bench = Bench()
    bench.feed(0.5)  # less than a hop: the meter does not wait for one
    bench.worker.tick()
    (view,) = bench.board.snapshot().streams
    assert view.level is not None
    assert view.level.rms_dbfs == pytest.approx(-20.0, abs=0.1)
    bench.source.mute(True)
    bench.clock.now += 1
    bench.worker.tick()
    assert bench.board.snapshot().streams[0].level is None


def test_nothing_is_metered_where_nobody_shows_it() -> None:
    bench = Bench()
    bench.sink.meters = False
    bench.feed(0.5)
    bench.worker.tick()
    assert bench.board.snapshot().streams[0].level is None


def test_metering_takes_nothing_from_the_windows() -> None:
    bench = Bench()
    for _ in range(4):
        bench.feed(0.5)
        bench.clock.now += 0.1
        bench.worker.tick()
    assert bench.inference.steps == [{0: HOP_SAMPLES}, {0: HOP_SAMPLES}]


def test_after_a_gap_the_state_is_reset_and_windows_warm_up_again() -> None:
    bench = Bench()
    bench.feed(2)
    bench.worker.tick()
    bench.source.ring.mark_gap()
    bench.feed(2)
    bench.worker.tick()
    assert bench.inference.resets == [0]
    assert [w.warming for w in bench.windows] == [True, False, True, False]
    assert bench.windows[2].start_s == 2 * HOP_SAMPLES / 24_000


def test_what_was_heard_of_a_voice_is_forgotten_with_another_device_and_not_at_a_gap() -> None:
    bench = Bench()
    bench.feed(2)
    bench.worker.tick()
    bench.source.ring.mark_gap()
    bench.feed(2)
    bench.worker.tick()
    assert bench.inference.forgotten == []
    bench.source.device = "another microphone"
    bench.source.ring.mark_gap()
    bench.feed(2)
    bench.worker.tick()
    assert bench.inference.forgotten == [0]


def test_overwritten_samples_are_counted_exactly_and_reset_the_state() -> None:
    bench = Bench(FakeSource(capacity=4 * HOP_SAMPLES))
    bench.feed(1)
    bench.worker.tick()
    bench.feed(6)
    bench.worker.tick()
    assert bench.inference.resets == [0]
    assert sum(w.dropped_samples for w in bench.windows) == 2 * HOP_SAMPLES
    bench.clock.now += 2
    bench.worker.tick()
    assert bench.of(Health)[-1].dropped_samples == 2 * HOP_SAMPLES


def test_when_behind_steps_grow_and_skipped_windows_are_counted() -> None:
    bench = Bench()
    bench.feed(8)
    bench.worker.tick()
    bench.clock.now += 2
    bench.worker.tick()
    assert bench.inference.steps == [{0: 8 * HOP_SAMPLES}]
    assert [w.end_s for w in bench.windows] == [8 * HOP_SAMPLES / 24_000]
    assert bench.of(Health)[-1].skipped_windows == 7


def test_with_fast_nothing_is_skipped_and_no_latency_is_claimed() -> None:
    bench = Bench(FakeSource(realtime=False))
    bench.feed(8)
    bench.worker.tick()
    assert len(bench.windows) == 8
    assert {w.latency_ms for w in bench.windows} == {None}


def test_a_recordings_time_is_the_moment_of_the_event_and_never_ahead_of_the_clock() -> None:
    bench = Bench(FakeSource(realtime=False))
    bench.feed(500)  # 120 s of audio
    while bench.worker.tick():
        bench.clock.now += 0.01
    times = [window.time for window in bench.windows]
    assert times == sorted(times)
    assert times[-1] <= bench.clock.time()
    assert bench.windows[-1].end_s == pytest.approx(120, abs=0.24)


@pytest.mark.parametrize("realtime", [False, True])
def test_with_a_start_time_a_recording_is_timed_by_its_position(realtime: bool) -> None:
    bench = Bench(FakeSource(realtime=realtime))
    bench.sources[0].ring.start_time = 1_000_000.0
    bench.feed(2)
    bench.worker.tick()
    for window in bench.windows:
        assert window.time == pytest.approx(1_000_000.0 + window.end_s)
        assert window.latency_ms is None or window.latency_ms < 1_000


def test_time_comes_from_the_capture_clock_and_never_runs_backwards() -> None:
    bench = Bench()
    for captured in (900.0, 899.0, 901.0):
        bench.feed(1, captured=captured)
        bench.worker.tick()
    times = [w.time for w in bench.windows]
    assert times == sorted(times)
    assert times[0] == pytest.approx(900.0)
    assert bench.windows[0].latency_ms == pytest.approx(100_000.0)


def test_the_end_of_a_source_gives_its_last_window_and_closes_its_emotion() -> None:
    bench = Bench()
    bench.feed(3.5)
    bench.source.ring.end()
    bench.worker.run()
    # None is skipped, though hops wait: what the source captured while the model was warmed up is not late.
    assert [w.end_s for w in bench.windows] == [HOP_SAMPLES * n / 24_000 for n in (1, 2, 3, 3.5)]
    started, ended = bench.of(EmotionStarted), bench.of(EmotionEnded)
    assert [e.id for e in started] == [e.id for e in ended]
    assert bench.of(State)[-1].label is None
    assert bench.board.status_of("desk") == "ended"


@pytest.mark.parametrize("state", ["muted", "no device", "lost"])
def test_the_emotion_held_ends_when_nothing_is_captured_any_more(state: SourceState) -> None:
    bench = Bench()
    bench.feed(3)
    bench.source.state = state
    for _ in range(3):
        bench.worker.tick()
    (started,), (ended,) = bench.of(EmotionStarted), bench.of(EmotionEnded)
    assert (ended.id, ended.time) == (started.id, bench.windows[-1].time)
    assert bench.of(State)[-1].label is None
    bench.source.state = "live"
    bench.source.ring.mark_gap()
    bench.feed(1)
    bench.worker.tick()
    assert bench.windows[-1].warming
    assert len(bench.of(EmotionEnded)) == 1


def test_stop_closes_what_is_open() -> None:
    bench = Bench()
    bench.feed(3)
    bench.worker.tick()
    bench.worker.stop()
    bench.worker.run()
    assert (len(bench.of(EmotionStarted)), len(bench.of(EmotionEnded))) == (1, 1)


def test_an_emotion_that_takes_over_ends_the_one_before_first() -> None:
    bench = Bench(answer=lambda row, end: (0.9, 0.1) if end > 4 * HOP_SAMPLES else (0.1, 0.9))
    for _ in range(6):
        bench.feed(1)
        bench.worker.tick()
    changes = [e for e in bench.events if isinstance(e, EmotionStarted | EmotionEnded)]
    assert [(type(e).__name__, e.label) for e in changes] == [
        ("EmotionStarted", "happy"),
        ("EmotionEnded", "happy"),
        ("EmotionStarted", "neutral"),
    ]
    assert changes[0].id == changes[1].id != changes[2].id
    assert changes[2].previous == "happy"


def test_the_state_is_known_before_the_window_that_changed_it() -> None:
    bench = Bench()
    bench.feed(2)
    bench.worker.tick()
    kinds = [type(e).__name__ for e in bench.events if not isinstance(e, Health)]
    assert kinds == ["State", "Window", "EmotionStarted", "State", "Window"]


def test_silence_has_no_label_and_no_probabilities() -> None:
    bench = Bench(answer=lambda row, end: None)
    bench.feed(2)
    bench.worker.tick()
    assert {(w.label, w.confidence, w.probs) for w in bench.windows} == {(None, None, None)}
    assert bench.board.status_of("desk") == "silence"


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("starting", "starting"),
        ("no signal", "no signal"),
        ("no device", "no device"),
        ("lost", "mic lost"),
        ("source lost", "source lost"),
        ("muted", "paused"),
        ("failed", "warming"),
        ("live", "warming"),
        ("ended", "warming"),
    ],
)
def test_the_source_has_the_first_word_about_the_status(state: SourceState, word: str) -> None:
    bench = Bench(FakeSource(state=state))
    bench.worker.tick()
    assert bench.board.status_of("desk") == word


def test_streams_are_encoded_in_one_step_and_a_stalled_one_holds_up_no_other() -> None:
    desk, door = FakeSource("desk"), FakeSource("door")
    bench = Bench(desk, door)
    bench.feed(1, desk)
    bench.feed(1, door)
    bench.worker.tick()
    bench.feed(1, desk)
    bench.worker.tick()
    assert bench.inference.steps == [{0: HOP_SAMPLES, 1: HOP_SAMPLES}, {0: HOP_SAMPLES}]
    assert (len(bench.of(Window, "desk")), len(bench.of(Window, "door"))) == (2, 1)


def test_streams_share_the_cost_of_a_step_by_their_audio() -> None:
    desk, door = FakeSource("desk"), FakeSource("door")
    bench = Bench(desk, door)
    step = bench.inference.step

    def slow(*arguments: Any, **options: Any) -> list[WindowResult]:
        bench.clock.now += 0.3
        return step(*arguments, **options)

    bench.inference.step = slow  # type: ignore[method-assign]
    bench.feed(2, desk)
    bench.feed(1, door)
    bench.worker.tick()
    costs = {e.stream: e.compute_s for e in bench.events if isinstance(e, Health)}
    assert costs == pytest.approx({"desk": 0.2, "door": 0.1})


def test_health_tells_for_how_long_a_stream_rested_over_gaps_too() -> None:
    bench = Bench(FakeSource(realtime=False), answer=lambda row, end: None if end <= 2 * HOP_SAMPLES else (0.2, 0.8))
    bench.feed(4)
    bench.worker.tick()
    bench.source.ring.mark_gap()
    bench.feed(4)
    bench.clock.now += 1.5
    bench.worker.tick()
    assert [event.rested_s for event in bench.of(Health)] == pytest.approx([0.48, 0.96])


def test_the_ids_of_two_streams_never_meet() -> None:
    bench = Bench(FakeSource("desk"), FakeSource("door"))
    for source in bench.sources:
        bench.feed(3, source)
    bench.worker.tick()
    ids = [e.id for e in bench.events if isinstance(e, EmotionStarted)]
    assert len(ids) == len(set(ids)) == 2


def test_the_level_is_that_of_the_newest_hop() -> None:
    bench = Bench()
    bench.feed(1)
    bench.source.ring.write(np.zeros(HOP_SAMPLES, dtype=np.float32))
    bench.worker.tick()
    assert [w.rms_dbfs for w in bench.windows] == [pytest.approx(-20.0), -120.0]


def test_a_stream_whose_windows_are_skipped_is_called_behind_for_two_seconds() -> None:
    bench = Bench()
    bench.feed(8)
    bench.worker.tick()
    assert bench.board.status_of("desk") == "behind"
    bench.clock.now += 2.5
    bench.worker.tick()
    assert bench.board.status_of("desk") == "live"


# Streams that come and go


def test_an_added_stream_runs_beside_the_others() -> None:
    bench, door = Bench(), FakeSource("door")
    bench.feed(1)
    bench.worker.tick()
    bench.worker.add(door)
    for source in (bench.source, door):
        bench.feed(1, source)
    bench.worker.tick()
    assert bench.inference.steps == [{0: HOP_SAMPLES}, {0: HOP_SAMPLES, 1: HOP_SAMPLES}]
    assert [w.end_s for w in bench.of(Window, "door")] == [HOP_SAMPLES / 24_000]
    assert bench.rosters == [("desk", "door")]
    assert bench.board.status_of("door") == "warming"


def test_a_stream_that_goes_ends_what_it_holds_and_is_forgotten() -> None:
    bench = Bench(FakeSource("desk"), FakeSource("door"))
    for source in bench.sources:
        bench.feed(2, source)
    bench.worker.tick()
    bench.feed(1, bench.sources[1])
    bench.worker.remove("door")
    bench.worker.tick()
    (started,), (ended,) = bench.of(EmotionStarted, "door"), bench.of(EmotionEnded, "door")
    assert started.id == ended.id
    assert bench.of(State, "door")[-1].label is None
    assert bench.of(Health, "door")[-1].status == "ended"
    assert len(bench.of(Window, "door")) == 2  # what it had not heard is lost
    assert bench.rosters == [("desk",)]
    assert [view.name for view in bench.board.snapshot().streams] == ["desk"]
    assert bench.of(EmotionEnded, "desk") == []
    told = len(bench.of(Health, "door"))
    bench.clock.now += 5
    bench.worker.tick()
    assert len(bench.of(Health, "door")) == told


def test_a_row_goes_from_one_stream_to_the_next_and_ids_never_meet() -> None:
    bench, ids = Bench(FakeSource("desk"), FakeSource("door")), []
    source = bench.sources[1]
    for name in ("door", "door", "hall"):
        if ids:
            bench.worker.remove(source.name)
            source = FakeSource(name)
            bench.worker.add(source)
        bench.worker.tick()
        bench.feed(2, source)
        bench.worker.tick()
        ids.append(bench.of(EmotionStarted, name)[-1].id)
    assert len(set(ids)) == 3
    assert set(bench.inference.samples) == {0, 1}
    assert [w.seq for w in bench.of(Window, "door")] == [0, 1, 0, 1]


def test_a_stream_that_ended_leaves_its_row_to_another() -> None:
    bench = Bench(FakeSource("desk"), FakeSource("door"))
    bench.feed(2, bench.sources[1])
    bench.sources[1].ring.end()
    bench.worker.tick()
    assert set(bench.inference.samples) == {0}
    assert bench.board.status_of("door") == "ended"
    hall = FakeSource("hall")
    bench.worker.add(hall)
    bench.feed(1, hall)
    bench.worker.tick()
    assert bench.inference.steps[-1] == {1: HOP_SAMPLES}
    assert [w.stream for w in bench.of(Window, "hall")] == ["hall"]
    bench.worker.remove("door")
    bench.worker.tick()
    assert [view.name for view in bench.board.snapshot().streams] == ["desk", "hall"]
    assert set(bench.inference.samples) == {0, 1}


CHUNKS = st.lists(st.floats(0, 3.3), min_size=1, max_size=12)


@settings(deadline=None)
@given(mine=CHUNKS, others=CHUNKS, comes=st.integers(0, 6), stays=st.integers(0, 6))
def test_no_event_of_a_stream_depends_on_others_that_come_and_go(
    mine: list[float], others: list[float], comes: int, stays: int
) -> None:
    def hear(company: bool) -> list[Event]:
        bench, guest = Bench(), FakeSource("guest")
        for step, hops in enumerate(mine):
            if company and step == comes:
                bench.worker.add(guest)
            if company and step == comes + stays + 1:
                bench.worker.remove("guest")
            bench.feed(hops)
            bench.feed(others[step % len(others)], guest)
            bench.clock.now += 0.3
            bench.worker.tick()
        bench.source.ring.end()
        bench.worker.tick()
        return [replace(e, id=e.id[-6:]) if hasattr(e, "id") else e for e in bench.of(object, "desk")]

    assert hear(company=True) == hear(company=False)


def test_streams_come_and_go_from_other_threads_while_the_worker_runs() -> None:
    bench = Bench()
    thread = threading.Thread(target=bench.worker.run)
    thread.start()
    doors = [FakeSource(f"door{i}") for i in range(8)]
    adding = [threading.Thread(target=bench.worker.add, args=(door,)) for door in doors]
    for each in adding:
        each.start()
    for door in doors:
        bench.feed(3, door)
    bench.until(lambda: all(len(bench.of(Window, door.name)) for door in doors))
    for door in doors:
        bench.worker.remove(door.name)
    bench.until(lambda: bench.rosters[-1] == ("desk",) and len(bench.rosters) == 16)
    assert thread.is_alive()
    bench.worker.remove("desk")  # the last one
    thread.join(5)
    assert not thread.is_alive()
    assert all(len(bench.of(EmotionEnded, door.name)) == 1 for door in doors)


def test_a_name_that_is_taken_or_unknown_is_refused_where_it_is_said() -> None:
    bench = Bench()
    with pytest.raises(UsageError, match="named 'desk' already"):
        bench.worker.add(FakeSource("desk"))
    with pytest.raises(UsageError, match="no stream named 'door'; there are: desk"):
        bench.worker.remove("door")
    bench.worker.remove("desk")
    bench.worker.add(FakeSource("desk"))
    bench.worker.tick()
    assert bench.rosters == [(), ("desk",)]


def test_a_source_takes_the_place_of_another_in_one_step() -> None:
    bench = Bench()
    bench.feed(2)
    bench.worker.tick()
    (first,) = bench.of(EmotionStarted)
    other = FakeSource("desk")
    bench.worker.replace(other)
    bench.feed(2, other)
    bench.worker.tick()
    (ended,) = bench.of(EmotionEnded)
    assert ended.id == first.id
    assert [window.seq for window in bench.windows] == [0, 1, 0, 1]
    assert bench.of(EmotionStarted)[-1].id != first.id
    assert bench.rosters == [("desk",)]
    bench.feed(2)  # into the ring of the source that is gone
    bench.worker.tick()
    assert len(bench.windows) == 4
    with pytest.raises(UsageError, match="no stream named 'door'; there are: desk"):
        bench.worker.replace(FakeSource("door"))


def test_the_only_stream_may_be_exchanged_while_the_worker_runs() -> None:
    bench = Bench()
    thread = threading.Thread(target=bench.worker.run)
    thread.start()
    for number in range(20):
        other = FakeSource("desk")
        bench.worker.replace(other)
        bench.feed(1, other)
        bench.until(lambda number=number: len(bench.windows) == number + 1)
    assert thread.is_alive()
    bench.worker.stop()
    thread.join(5)


def test_other_thresholds_hold_from_the_next_step_and_the_emotion_held_stays() -> None:
    bench = Bench(FakeSource("desk"), FakeSource("door"))
    for source in bench.sources:
        bench.feed(2, source)
    bench.worker.tick()
    assert [window.label for window in bench.windows] == [None, "happy"]
    strict = replace(bench.settings, rule=ClaimRule(0.9, 0.2), tracker=replace(bench.settings.tracker, hang_s=0.5))
    bench.worker.configure(strict, 0.7)
    for source in bench.sources:
        bench.feed(2, source)
    bench.worker.tick()
    assert bench.inference.configured == [(0.7, 0.2)]
    assert [window.label for window in bench.windows[2:]] == [None, None]
    assert bench.of(EmotionEnded) == []
    for source in bench.sources:
        bench.feed(2, source)
    bench.worker.tick()  # half a second without a claim
    assert len(bench.of(EmotionEnded)) == len(bench.of(EmotionEnded, "door")) == 1
    hall = FakeSource("hall")
    bench.worker.add(hall)
    bench.feed(2, hall)
    bench.worker.tick()
    assert [window.label for window in bench.of(Window, "hall")] == [None, None]


def test_a_wall_clock_that_is_set_back_is_said_and_never_makes_time_run_backwards() -> None:
    bench = Bench()
    bench.clock.epoch = 1e9
    bench.worker = Worker(bench.inference, bench.sources, bench.settings, sink=bench.sink, clock=bench.clock)  # type: ignore[arg-type]
    said = []
    for number in range(100):
        if number == 20:
            bench.clock.epoch -= 10.0
        bench.clock.now += 0.24
        bench.feed(1, captured=None)
        bench.worker.tick()
        said.append(bench.worker.clock_notice)
    windows, health = bench.windows, bench.of(Health)
    for times in ([window.time for window in windows], [event.time for event in health]):
        assert all(after > before for before, after in itertools.pairwise(times))
    assert windows[-1].time == pytest.approx(bench.clock.time())  # 20 s later it has caught up
    assert windows[25].time > 1e9 + bench.clock.now - 10.0 - 80 * 0.24
    assert [bool(sentence) for sentence in said] == [20 <= number < 94 for number in range(100)]
    assert "set back by 10 s" in said[20]
    (line,) = [line for line in bench.board.snapshot().log if line.kind == "note"]
    assert line.text == said[20]
