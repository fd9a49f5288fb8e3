"""Voice profiles in the worker: which windows count, what is applied, and to which stream."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from streamer.emotion.enrolment import CollectedSpeech
from streamer.emotion.profile import (
    ProfileError,
    VoiceProfile,
    load_profile,
    make_profile,
    neutral_offset,
    save_profile,
    stored_names,
)
from streamer.emotion.tracker import ClaimRule, TrackerSettings
from streamer.feed.board import Board
from streamer.feed.snapshot import EnrolmentView, StreamView
from streamer.pipeline.profiles import EnrolmentResult, ProfileStore, VoiceProfiles
from streamer.pipeline.stream import StreamSettings
from streamer.pipeline.worker import Worker
from tests.support.fakes import FakeClock, FakeInference, FakeSink, FakeSource

HOP_SAMPLES = 18 * 320
HOP_S = 0.24
NEUTRAL_MEAN = (0.5,) * 128
VOICE = CollectedSpeech(20.0, 20.0, 80, -30.0, (1.5,) * 128, (0.1,) * 128)


@dataclass
class FakeStore:
    """Profiles in memory."""

    means: dict[str, tuple[float, ...]]
    checkpoint_sha256: str = "ab"

    def mean(self, stream: str) -> tuple[float, ...] | None:
        return self.means.get(stream)


class Bench:
    """A worker among fakes, whose rows all embed as their number plus one."""

    def __init__(
        self,
        *names: str,
        voices: Mapping[str, tuple[float, ...]] | None = None,
        neutral_mean: tuple[float, ...] | None = NEUTRAL_MEAN,
        answer: Callable[[int, int], tuple[float, ...] | None] = lambda row, end: (0.2, 0.8),
    ) -> None:
        self.sources = {name: FakeSource(name) for name in names}
        self.inference = FakeInference(rows=len(names), answer=answer)
        self.board = Board(names)
        self.sink = FakeSink(self.board)
        self.rosters = self.sink.rosters
        self.results: list[EnrolmentResult] = []
        tracker = TrackerSettings(enter=0.5, exit=0.4, smoothing_s=0.0, dwell_s=0.0, hang_s=1.0)
        settings = StreamSettings(("neutral", "happy"), 36, 18, ClaimRule(threshold=0.5), tracker, neutral_mean)
        self.store = FakeStore(dict(voices or {}))
        self.profiles = VoiceProfiles(self.inference, settings, self.sink, self.store, self.results.append)
        for name in names:
            self.profiles.load(name)
        self.worker = Worker(
            self.inference,  # type: ignore[arg-type]
            list(self.sources.values()),
            settings,
            sink=self.sink,
            profiles=self.profiles,
            clock=FakeClock(),
        )

    @property
    def in_use(self) -> set[str]:
        return set(self.profiles.in_use)

    def add(self, name: str) -> None:
        self.profiles.load(name)
        self.worker.add(FakeSource(name))

    def speak(self, hops: int, *names: str) -> None:
        for _ in range(hops):
            for name in names or self.sources:
                self.sources[name].ring.write(np.full(HOP_SAMPLES, 0.1, dtype=np.float32))
            self.worker.tick()

    def view(self, name: str) -> StreamView:
        return next(view for view in self.board.snapshot().streams if view.name == name)


def test_a_speaker_is_enrolled_from_full_windows_of_speech_and_the_profile_applied_at_once() -> None:
    bench = Bench("desk")
    bench.profiles.enrol("desk", 4 * HOP_S)
    bench.speak(4)
    assert bench.view("desk").enrolment == EnrolmentView(pytest.approx(3 * HOP_S), 4 * HOP_S)  # the first one warms up
    assert bench.results == []
    bench.speak(1)
    (profile,) = bench.results
    assert isinstance(profile, VoiceProfile)
    assert (profile.stream, profile.windows, profile.mean) == ("desk", 4, (1.0,) * 128)
    assert (profile.level_dbfs, profile.checkpoint_sha256) == (pytest.approx(-20.0, abs=0.1), "ab")
    assert bench.inference.offsets == {0: pytest.approx(neutral_offset((1.0,) * 128, NEUTRAL_MEAN))}
    assert bench.inference.with_embedding == set()
    assert (bench.view("desk").enrolment, bench.view("desk").calibrated) == (None, True)
    assert (bench.rosters, bench.in_use) == ([("desk",)], {"desk"})
    bench.speak(3)
    assert len(bench.results) == 1


def test_silence_does_not_count() -> None:
    bench = Bench("desk", answer=lambda row, end: (0.2, 0.8) if end > 10 * HOP_SAMPLES else None)
    bench.profiles.enrol("desk", 10.0)
    bench.speak(10)
    assert bench.view("desk").enrolment == EnrolmentView(0.0, 10.0)
    bench.speak(2)
    assert bench.view("desk").enrolment == EnrolmentView(pytest.approx(2 * HOP_S), 10.0)


def test_a_cancelled_collection_leaves_nothing_behind() -> None:
    bench = Bench("desk")
    bench.profiles.enrol("desk", 4 * HOP_S)
    bench.speak(3)
    bench.profiles.enrol("desk", None)
    bench.speak(6)
    assert (bench.results, bench.inference.offsets, bench.inference.with_embedding) == ([], {}, set())
    assert (bench.view("desk").enrolment, bench.view("desk").calibrated) == (None, False)


def test_a_stream_that_ends_too_early_reports_how_much_speech_there_was_and_gets_no_profile() -> None:
    bench = Bench("desk")
    bench.profiles.enrol("desk", 10.0)
    bench.speak(3)
    bench.sources["desk"].ring.end()
    bench.worker.tick()
    (result,) = bench.results
    assert isinstance(result, ProfileError)
    assert f"{2 * HOP_S:.1f} s of speech were" in str(result)
    assert "on desk" in str(result)
    assert bench.inference.offsets.get(0) is None
    assert (bench.view("desk").enrolment, bench.view("desk").calibrated) == (None, False)


def test_a_stream_that_is_removed_during_enrolment_reports_how_much_speech_there_was() -> None:
    bench = Bench("desk", "door")
    bench.profiles.enrol("door", 10.0)
    bench.speak(3)
    bench.worker.remove("door")
    bench.add("door")
    bench.worker.tick()
    (result,) = bench.results
    assert isinstance(result, ProfileError)
    assert f"{2 * HOP_S:.1f} s of speech were" in str(result)
    assert "on door" in str(result)
    assert (bench.inference.with_embedding, bench.in_use) == (set(), set())
    bench.speak(3, "desk")
    assert len(bench.results) == 1


def test_each_of_two_streams_has_its_own_profile() -> None:
    bench = Bench("desk", "door", "hall", voices={"door": (9.0,) * 128})
    assert bench.in_use == {"door"}
    bench.profiles.enrol("desk", 2 * HOP_S)
    bench.speak(3)
    assert bench.inference.offsets == {
        0: neutral_offset((1.0,) * 128, NEUTRAL_MEAN),
        1: neutral_offset((9.0,) * 128, NEUTRAL_MEAN),
    }
    assert bench.in_use == {"desk", "door"}
    assert [bench.view(name).calibrated for name in bench.sources] == [True, True, False]


def test_a_stream_that_is_added_brings_its_profile_and_one_that_is_removed_takes_it_along() -> None:
    bench = Bench("desk")
    bench.store.means["door"] = (9.0,) * 128
    bench.add("door")
    bench.worker.tick()
    assert bench.in_use == {"door"}
    assert bench.inference.offsets == {1: neutral_offset((9.0,) * 128, NEUTRAL_MEAN)}
    bench.worker.remove("door")
    del bench.store.means["door"]
    bench.add("door")
    bench.worker.tick()
    assert bench.in_use == set()


def test_a_new_enrolment_replaces_the_profile_before() -> None:
    bench = Bench("desk", voices={"desk": (9.0,) * 128})
    bench.profiles.enrol("desk", 2 * HOP_S)
    bench.speak(2)
    assert bench.inference.offsets == {0: neutral_offset((9.0,) * 128, NEUTRAL_MEAN)}
    bench.speak(1)
    assert bench.inference.offsets == {0: neutral_offset((1.0,) * 128, NEUTRAL_MEAN)}


def test_a_checkpoint_without_a_neutral_mean_refuses_enrolment_and_the_stream_goes_on() -> None:
    bench = Bench("desk", neutral_mean=None)
    bench.profiles.enrol("desk", 2 * HOP_S)
    bench.speak(6)
    assert "has no average of neutral speech" in bench.board.snapshot().log[0].text
    assert (bench.view("desk").enrolment, bench.results) == (None, [])


def test_an_enrolment_on_a_stream_that_is_gone_is_ignored() -> None:
    bench = Bench("desk")
    bench.profiles.enrol("door", 2 * HOP_S)
    bench.speak(3)
    assert bench.results == []


def kept(sha: str = "ab", enabled: bool = True) -> tuple[ProfileStore, Board]:
    board = Board(["desk"])
    return ProfileStore(sha, lambda stream, text: board.log("note", text, stream), enabled=enabled), board


def enrolled(store: ProfileStore, board: Board, voice: CollectedSpeech) -> None:
    """Let a monitor's profiles collect `voice`, and its stream end."""
    settings = StreamSettings(("happy",), 36, 18, ClaimRule(0.5), TrackerSettings(0.5, 0.4), NEUTRAL_MEAN)
    profiles = VoiceProfiles(FakeInference(), settings, FakeSink(board), store)  # type: ignore[arg-type]
    profiles.attach(0, "desk")
    profiles.enrol("desk", voice.wanted_s)
    profiles.take_requests()
    enrolment = profiles._enrolments["desk"]
    for _ in range(voice.windows):
        enrolment.add(voice.mean, 1.0, voice.voice_s / voice.windows, voice.level_dbfs)
    profiles.detach("desk")
    store.close()


def test_a_profile_is_stored_for_the_next_run() -> None:
    store, board = kept()
    enrolled(store, board, VOICE)
    assert store.mean("desk") == VOICE.mean
    assert "stored and in use (20 s)" in board.snapshot().log[-1].text


def test_a_profile_of_too_little_speech_is_not_stored_and_the_log_gives_the_reason() -> None:
    store, board = kept()
    enrolled(store, board, CollectedSpeech(4.0, 20.0, 3, -30.0, VOICE.mean, VOICE.scale))
    assert stored_names() == ()
    assert "Only 4.0 s of speech" in board.snapshot().log[-1].text


def test_another_checkpoints_profile_is_ignored_with_a_notice() -> None:
    save_profile(make_profile(VOICE, "desk", "cd"))
    store, board = kept("ab")
    assert store.mean("desk") is None
    (sentence,) = store.ignored
    assert "another checkpoint and is ignored" in sentence
    assert board.snapshot().log[-1].text == sentence
    assert load_profile("desk", "cd") is not None


def test_profiles_are_not_even_read_where_they_are_not_wanted() -> None:
    save_profile(make_profile(VOICE, "desk", "cd"))
    store, board = kept("ab", enabled=False)
    assert store.mean("desk") is None
    assert (store.ignored, board.snapshot().log) == (frozenset(), ())
