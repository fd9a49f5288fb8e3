"""The claim rule and the tracker: stable emotions out of flickering windows."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.emotion import ClaimRule, Observation, Tracker, TrackerOutput, TrackerSettings

HOP_S = 0.24
RULE = ClaimRule(threshold=0.5, min_speech=0.3)
SETTINGS = TrackerSettings(enter=0.5, exit=0.35, smoothing_s=0.5, dwell_s=0.7, hang_s=2.0)
SHARP = TrackerSettings(enter=0.5, exit=0.35, smoothing_s=0.0, dwell_s=0.0, hang_s=2.0)


def probs(**largest: float) -> dict[str, float]:
    rest = (1 - sum(largest.values())) / (3 - len(largest))
    return {name: largest.get(name, rest) for name in ("neutral", "happy", "angry")}


def observe(i: int, p: dict[str, float] | None, speech: float = 1.0, warming: bool = False) -> Observation:
    return Observation(time=1000.0 + i * HOP_S, end_s=i * HOP_S, probs=p, speech=speech, warming=warming)


def run(tracker: Tracker, *stretches: tuple[int, dict[str, float] | None], begin: int = 0) -> list[TrackerOutput]:
    """Feed stretches of (how many windows, probabilities)."""
    windows = [p for count, p in stretches for _ in range(count)]
    return [tracker.update(observe(begin + i, p)) for i, p in enumerate(windows)]


def starts(outputs: list[TrackerOutput]) -> list[str]:
    return [o.started.label for o in outputs if o.started]


@pytest.mark.parametrize(
    ("observation", "label"),
    [
        (observe(0, probs(happy=0.8)), "happy"),
        (observe(0, probs(happy=0.5)), "happy"),
        (observe(0, probs(happy=0.49)), None),  # unsure
        (observe(0, probs(happy=0.8), speech=0.29), None),  # silence, or something else than speech
        (observe(0, probs(happy=0.8), warming=True), None),
        (observe(0, None), None),
    ],
)
def test_a_window_claims_only_what_it_may(observation, label):
    assert RULE.label(observation) == label


@pytest.mark.parametrize(
    "values", [{"threshold": 1.1}, {"threshold": -0.1}, {"threshold": 0.5, "min_speech": math.nan}]
)
def test_an_impossible_rule_is_refused(values):
    with pytest.raises(ValueError, match="must be from 0 to 1"):
        ClaimRule(**values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exit": 0.6}, "must not be above enter"),
        ({"enter": 1.2}, "enter must be from 0 to 1"),
        ({"dwell_s": -1.0}, "dwell_s must be at least 0"),
        ({"hang_s": math.inf}, "hang_s must be at least 0"),
        ({"smoothing_s": math.nan}, "smoothing_s must be at least 0"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TrackerSettings(**{"enter": 0.5, "exit": 0.3} | changes)


@pytest.mark.parametrize(("threshold", "enter"), [(0.0, 0.0), (0.375, 0.5), (0.6, 0.714), (1.0, 1.0)])
def test_settings_around_a_threshold_enter_at_five_thirds_of_its_odds_and_leave_below_it(threshold, enter):
    settings = TrackerSettings.around(threshold)
    assert settings.enter == pytest.approx(enter, abs=0.001)
    assert settings.exit == 0.5 * threshold


def test_an_emotion_starts_after_its_dwell_and_not_before():
    outputs = run(Tracker(RULE, SETTINGS), (6, probs(happy=0.9)))
    assert [o.label for o in outputs] == [None, None, None, "happy", "happy", "happy"]  # 3 hops = 0.72 s >= 0.7 s
    started = outputs[3].started
    assert started is not None
    assert (started.label, started.previous, started.start_s) == ("happy", None, 3 * HOP_S)
    assert started.confidence == pytest.approx(0.9)
    assert outputs[5].since == started.time == outputs[3].since


def test_a_single_odd_window_changes_nothing():
    outputs = run(Tracker(RULE, SETTINGS), (8, probs(happy=0.9)), (1, probs(angry=0.9)), (8, probs(happy=0.9)))
    assert starts(outputs) == ["happy"]
    assert not any(o.ended for o in outputs)


def test_another_emotion_takes_over_with_one_end_and_one_start():
    outputs = run(Tracker(RULE, SETTINGS), (8, probs(happy=0.9)), (12, probs(angry=0.9)))
    changes = [o for o in outputs if o.ended or o.started]
    assert starts(outputs) == ["happy", "angry"]
    last = changes[-1].started
    assert last is not None
    assert last.previous in (None, "happy")
    ended = next(o.ended for o in outputs if o.ended)
    assert ended.label == "happy"
    assert ended.duration_s > 0
    assert ended.peak_confidence == pytest.approx(0.9)


def test_an_immediate_takeover_ends_and_starts_in_one_window_and_names_the_previous():
    tracker = Tracker(RULE, SHARP)
    run(tracker, (2, probs(happy=0.9)))
    (output,) = run(tracker, (1, probs(angry=0.9)), begin=2)
    assert output.ended is not None
    assert output.started is not None
    assert (output.ended.label, output.started.previous, output.label) == ("happy", "happy", "angry")
    assert output.ended.time == output.started.time == output.since


def test_between_exit_and_enter_an_emotion_neither_starts_nor_ends():
    tracker = Tracker(RULE, SHARP)
    assert starts(run(tracker, (5, probs(happy=0.45)))) == []
    assert starts(run(tracker, (1, probs(happy=0.9)), begin=5)) == ["happy"]
    held = run(tracker, (8, probs(happy=0.45)), begin=6)  # 1.92 s unclaimed: less than the hang
    assert [o.label for o in held] == ["happy"] * 8
    (gone,) = run(tracker, (1, probs(happy=0.34)), begin=14)
    assert gone.ended is not None
    assert gone.label is None


@pytest.mark.parametrize("quiet", [None, "unsure"])
def test_an_emotion_that_nobody_claims_any_more_ends_after_the_hang(quiet):
    tracker = Tracker(RULE, SHARP)
    run(tracker, (3, probs(happy=0.9)))
    outputs = run(tracker, (12, None if quiet is None else probs(happy=0.45)), begin=3)
    ends = [i for i, o in enumerate(outputs) if o.ended]
    assert ends == [8]  # 9 hops = 2.16 s after the last claim: the first that exceeds 2.0 s
    assert (outputs[-1].smoothed is None) == (quiet is None)


def test_a_short_pause_in_the_speech_keeps_the_emotion():
    tracker = Tracker(RULE, SHARP)
    outputs = run(tracker, (3, probs(happy=0.9)), (7, None), (3, probs(happy=0.9)))
    assert starts(outputs) == ["happy"]
    assert outputs[-1].label == "happy"


def test_nothing_starts_in_silence_and_dwell_does_not_run_there():
    tracker = Tracker(RULE, SETTINGS)
    outputs = run(tracker, (2, probs(happy=0.9)), (4, None), (1, probs(happy=0.9)))
    assert starts(outputs) == []


def test_warming_windows_count_for_nothing():
    tracker = Tracker(RULE, SHARP)
    output = tracker.update(observe(0, probs(happy=0.99), warming=True))
    assert (output.label, output.smoothed, output.started) == (None, None, None)


def test_smoothing_follows_time_and_not_the_number_of_windows():
    fine, coarse = Tracker(RULE, SETTINGS), Tracker(RULE, SETTINGS)
    for tracker in (fine, coarse):
        tracker.update(Observation(0.0, 0.0, probs(happy=0.9), 1.0, False))
    for i in range(1, 11):
        a = fine.update(Observation(i / 10, i / 10, probs(angry=0.9), 1.0, False))
    b = coarse.update(Observation(1.0, 1.0, probs(angry=0.9), 1.0, False))
    assert a.smoothed == pytest.approx(b.smoothed)
    assert b.smoothed["happy"] == pytest.approx(0.05 + 0.85 * math.exp(-1.0 / 0.5))


def test_a_gap_ends_what_is_held_and_forgets_what_was_before():
    tracker = Tracker(RULE, SETTINGS)
    run(tracker, (8, probs(happy=0.9)))
    output = tracker.reset(time=1010.0)
    assert output.ended is not None
    assert (output.ended.label, output.ended.time, output.label, output.since) == ("happy", 1010.0, None, 1010.0)
    assert output.smoothed is None
    assert output.ended.duration_s == pytest.approx(4 * HOP_S)
    assert starts(run(tracker, (3, probs(happy=0.9)))) == []  # the dwell begins anew, also at an earlier position


def test_close_ends_once():
    tracker = Tracker(RULE, SHARP)
    run(tracker, (3, probs(happy=0.9)))
    assert tracker.close(1001.0).ended is not None
    assert tracker.close(1002.0).ended is None


def test_closing_an_unused_tracker_is_harmless():
    assert Tracker(RULE, SETTINGS).close(5.0) == TrackerOutput(None, None, 5.0, None, None, None)


def test_the_peak_is_the_largest_smoothed_probability_while_held():
    tracker = Tracker(RULE, SHARP)
    outputs = run(tracker, (1, probs(happy=0.6)), (1, probs(happy=0.95)), (1, probs(happy=0.55)))
    assert [o.confidence for o in outputs] == pytest.approx([0.6, 0.95, 0.55])
    ended = tracker.close(1009.0).ended
    assert ended is not None
    assert ended.peak_confidence == pytest.approx(0.95)


@st.composite
def simplex(draw):
    raw = [draw(st.floats(0.001, 1)) ** 3 for _ in range(3)]
    return dict(zip(("neutral", "happy", "angry"), (x / sum(raw) for x in raw), strict=True))


steps = st.one_of(
    st.builds(
        lambda p, hops, speech, warming: (p, hops, speech, warming),
        st.one_of(st.none(), simplex()),
        st.sampled_from([0, 1, 1, 1, 3, 20]),
        st.floats(0, 1),
        st.booleans(),
    ),
    st.just("reset"),
)
any_settings = st.builds(
    lambda enter, share, smoothing, dwell, hang: TrackerSettings(enter, enter * share, smoothing, dwell, hang),
    st.floats(0, 1), st.floats(0, 1), st.floats(0, 3), st.floats(0, 2), st.floats(0, 3),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=40), any_settings)
def test_every_start_has_one_end_and_never_two_are_open(script, chosen):
    tracker = Tracker(ClaimRule(0.4, 0.3), chosen)
    position, open_label, begun = 0.0, None, 0.0
    for step in [*script, "reset"]:
        if step == "reset":
            output = tracker.reset(1000.0 + position)
        else:
            p, hops, speech, warming = step
            position += hops * HOP_S
            output = tracker.update(Observation(1000.0 + position, position, p, speech, warming))
        if output.ended:
            assert output.ended.label == open_label
            assert 0 <= output.ended.duration_s == pytest.approx(position - begun)
            assert 0 <= output.ended.peak_confidence <= 1
            open_label = None
        if output.started:
            assert open_label is None
            assert output.started.confidence >= chosen.enter
            open_label, begun = output.started.label, output.started.start_s
        assert output.label == open_label
        assert (output.confidence is None) == (open_label is None)
        if output.smoothed is not None:
            assert sum(output.smoothed.values()) == pytest.approx(1)
    assert open_label is None


@settings(max_examples=100, deadline=None)
@given(st.lists(simplex(), min_size=10, max_size=60))
def test_it_does_not_flicker(windows):
    """However wild the windows, a takeover takes the dwell."""
    tracker = Tracker(ClaimRule(0.0, 0.0), SETTINGS)
    outputs = [tracker.update(observe(i, p)) for i, p in enumerate(windows)]
    begun = [o.started.start_s for o in outputs if o.started]
    for output in outputs:
        if output.started and output.started.previous:
            before = max(start for start in begun if start < output.started.start_s)
            assert output.started.start_s - before >= SETTINGS.dwell_s - 1e-9


def test_without_a_held_emotion_the_likeliest_label_is_leaned_to() -> None:
    tracker = Tracker(RULE, SETTINGS)
    outputs = run(tracker, (5, probs(happy=0.45)), (10, probs(happy=0.9)), (3, None))
    assert outputs[0].label is None
    assert outputs[0].leaning == "happy"
    assert outputs[14].label == "happy"
    assert outputs[14].leaning is None, "a label is claimed"


@pytest.mark.parametrize("observation", [observe(1, None), observe(1, probs(happy=0.45), speech=0.1)])
def test_nothing_is_leaned_to_while_nobody_speaks(observation: Observation) -> None:
    tracker = Tracker(RULE, SETTINGS)
    assert tracker.update(observe(0, probs(happy=0.45))).leaning == "happy"
    assert tracker.update(observation).leaning is None
    assert tracker.reset(1001.0).leaning is None
