"""Learning voices in the worker: what counts, what is applied, and to which stream."""

import threading
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from streamer.emotion.enrolment import MeasuredVoice
from streamer.emotion.profile import load_profile, profile_of, save_profile, shift_of, stored_names
from streamer.emotion.tracker import ClaimRule, TrackerSettings
from streamer.feed.board import Board
from streamer.feed.snapshot import EnrolmentView, StreamView
from streamer.pipeline.profiles import ProfileStore
from streamer.pipeline.stream import StreamSettings
from streamer.pipeline.worker import Worker
from tests.support.fakes import FakeClock, FakeInference, FakeSource

HOP_SAMPLES = 18 * 320
HOP_S = 0.24
MIDDLE = (0.5,) * 128
VOICE = MeasuredVoice(20.0, 20.0, 80, -30.0, (1.5,) * 128, (0.1,) * 128)


class Bench:
    """A worker among fakes, whose rows all embed as their number plus one."""

    def __init__(
        self,
        *names: str,
        voices: Mapping[str, tuple[float, ...]] | None = None,
        middle: tuple[float, ...] | None = MIDDLE,
        answer: Callable[[int, int], tuple[float, ...] | None] = lambda row, end: (0.2, 0.8),
    ) -> None:
        self.sources = {name: FakeSource(name) for name in names}
        self.inference = FakeInference(rows=len(names), answer=answer)
        self.board = Board(names)
        self.learnt: list[tuple[str, MeasuredVoice]] = []
        self.rosters: list[tuple[str, ...]] = []
        tracker = TrackerSettings(enter=0.5, exit=0.4, smoothing_s=0.0, dwell_s=0.0, hang_s=1.0)
        self.worker = Worker(
            self.inference,  # type: ignore[arg-type]
            list(self.sources.values()),
            StreamSettings(("neutral", "happy"), 36, 18, ClaimRule(threshold=0.5), tracker, middle),
            board=self.board,
            outlet=lambda event: None,
            wake=threading.Event(),
            roster=lambda names: self.rosters.append(self.worker.calibrated),
            voices=voices or {},
            enrolled=lambda name, voice: self.learnt.append((name, voice)),
            clock=FakeClock(),
        )

    def speak(self, hops: int, *names: str) -> None:
        for _ in range(hops):
            for name in names or self.sources:
                self.sources[name].ring.write(np.full(HOP_SAMPLES, 0.1, dtype=np.float32))
            self.worker.tick()

    def view(self, name: str) -> StreamView:
        return next(view for view in self.board.snapshot().streams if view.name == name)


def test_a_voice_is_learnt_from_full_windows_of_speech_and_applied_at_once() -> None:
    bench = Bench("desk")
    bench.worker.enrol("desk", 4 * HOP_S)
    bench.speak(4)
    assert bench.view("desk").enrolment == EnrolmentView(pytest.approx(3 * HOP_S), 4 * HOP_S)  # the first one warms up
    assert bench.learnt == []
    bench.speak(1)
    ((name, voice),) = bench.learnt
    assert (name, voice.windows, voice.mean) == ("desk", 4, (1.0,) * 128)
    assert voice.level_dbfs == pytest.approx(-20.0, abs=0.1)
    assert bench.inference.shifts == {0: pytest.approx(shift_of((1.0,) * 128, MIDDLE))}
    assert bench.inference.revealed == set()
    assert (bench.view("desk").enrolment, bench.view("desk").calibrated) == (None, True)
    assert bench.rosters == [("desk",)]
    bench.speak(3)
    assert len(bench.learnt) == 1


def test_silence_does_not_count() -> None:
    bench = Bench("desk", answer=lambda row, end: (0.2, 0.8) if end > 10 * HOP_SAMPLES else None)
    bench.worker.enrol("desk", 10.0)
    bench.speak(10)
    assert bench.view("desk").enrolment == EnrolmentView(0.0, 10.0)
    bench.speak(2)
    assert bench.view("desk").enrolment == EnrolmentView(pytest.approx(2 * HOP_S), 10.0)


def test_a_cancelled_collection_leaves_nothing_behind() -> None:
    bench = Bench("desk")
    bench.worker.enrol("desk", 4 * HOP_S)
    bench.speak(3)
    bench.worker.enrol("desk", None)
    bench.speak(6)
    assert (bench.learnt, bench.inference.shifts, bench.inference.revealed) == ([], {}, set())
    assert (bench.view("desk").enrolment, bench.view("desk").calibrated) == (None, False)


def test_a_stream_that_ends_too_early_says_how_much_was_heard_and_is_not_calibrated() -> None:
    bench = Bench("desk")
    bench.worker.enrol("desk", 10.0)
    bench.speak(3)
    bench.sources["desk"].ring.end()
    bench.worker.tick()
    ((name, voice),) = bench.learnt
    assert (name, voice.enough, voice.voice_s) == ("desk", False, pytest.approx(2 * HOP_S))
    assert bench.inference.shifts.get(0) is None
    assert (bench.view("desk").enrolment, bench.view("desk").calibrated) == (None, False)


def test_a_stream_that_is_removed_while_its_voice_is_learnt_says_how_much_was_heard() -> None:
    bench = Bench("desk", "door")
    bench.worker.enrol("door", 10.0)
    bench.speak(3)
    bench.worker.remove("door")
    bench.worker.add(FakeSource("door"))
    bench.worker.tick()
    ((name, voice),) = bench.learnt
    assert (name, voice.enough, voice.voice_s) == ("door", False, pytest.approx(2 * HOP_S))
    assert (bench.inference.revealed, bench.worker.calibrated) == (set(), ())
    bench.speak(3, "desk")
    assert len(bench.learnt) == 1


def test_each_of_two_streams_has_its_own_voice() -> None:
    bench = Bench("desk", "door", "hall", voices={"door": (9.0,) * 128})
    assert bench.worker.calibrated == ("door",)
    bench.worker.enrol("desk", 2 * HOP_S)
    bench.speak(3)
    assert bench.inference.shifts == {0: shift_of((1.0,) * 128, MIDDLE), 1: shift_of((9.0,) * 128, MIDDLE)}
    assert bench.worker.calibrated == ("desk", "door")
    assert [bench.view(name).calibrated for name in bench.sources] == [True, True, False]


def test_a_stream_that_comes_later_brings_its_voice_and_one_that_goes_takes_it_along() -> None:
    bench = Bench("desk")
    bench.worker.add(FakeSource("door"), (9.0,) * 128)
    bench.worker.tick()
    assert bench.worker.calibrated == ("door",)
    bench.worker.remove("door")
    bench.worker.add(FakeSource("door"))
    bench.worker.tick()
    assert bench.worker.calibrated == ()


def test_learning_a_voice_anew_replaces_the_one_before() -> None:
    bench = Bench("desk", voices={"desk": (9.0,) * 128})
    bench.worker.enrol("desk", 2 * HOP_S)
    bench.speak(2)
    assert bench.inference.shifts == {0: shift_of((9.0,) * 128, MIDDLE)}
    bench.speak(1)
    assert bench.inference.shifts == {0: shift_of((1.0,) * 128, MIDDLE)}


def test_a_checkpoint_without_a_middle_says_that_it_cannot_and_goes_on() -> None:
    bench = Bench("desk", middle=None)
    bench.worker.enrol("desk", 2 * HOP_S)
    bench.speak(6)
    assert "does not know what neutral speech is" in bench.board.snapshot().log[0].text
    assert (bench.view("desk").enrolment, bench.learnt) == (None, [])


def test_a_voice_of_a_stream_that_is_gone_is_not_waited_for() -> None:
    bench = Bench("desk")
    bench.worker.enrol("door", 2 * HOP_S)
    bench.speak(3)
    assert bench.learnt == []


def kept(sha: str = "ab", wanted: bool = True) -> tuple[ProfileStore, Board]:
    board = Board(["desk"])
    voices = ProfileStore(board)
    voices.begin(sha, wanted=wanted)
    return voices, board


def test_a_learnt_voice_is_stored_for_the_next_run() -> None:
    voices, board = kept()
    voices.learnt("desk", VOICE)
    voices.close()
    assert voices.mean_of("desk") == VOICE.mean
    assert "stored and in use (20 s)" in board.snapshot().log[-1].text


def test_a_voice_of_too_little_speech_is_not_stored_and_the_log_says_so() -> None:
    voices, board = kept()
    voices.learnt("desk", MeasuredVoice(4.0, 20.0, 3, -30.0, VOICE.mean, VOICE.scale))
    voices.close()
    assert stored_names() == ()
    assert "Only 4.0 s of speech" in board.snapshot().log[-1].text


def test_another_checkpoints_profile_is_ignored_with_a_word() -> None:
    save_profile(profile_of(VOICE, "desk", "cd"))
    voices, board = kept("ab")
    assert voices.mean_of("desk") is None
    (sentence,) = voices.ignored
    assert "another checkpoint and is ignored" in sentence
    assert board.snapshot().log[-1].text == sentence
    assert load_profile("desk", "cd") is not None


def test_profiles_are_not_even_read_where_they_are_not_wanted() -> None:
    save_profile(profile_of(VOICE, "desk", "cd"))
    voices, board = kept("ab", wanted=False)
    assert voices.mean_of("desk") is None
    assert (voices.ignored, board.snapshot().log) == (frozenset(), ())
