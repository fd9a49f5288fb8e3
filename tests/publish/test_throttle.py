"""Rate-limiting repeated events."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import UsageError
from streamer.publish.throttle import Throttle
from tests.support.event_samples import INFO, health, state, transition, window


def test_a_state_goes_out_when_it_changes_and_every_ten_seconds() -> None:
    throttle = Throttle()
    sent = [t / 4 for t in range(140) if throttle.due(state("angry" if 50 <= t < 52 else "happy", at_s=t / 4))]
    assert sent == [0.0, 9.5, 12.5, 13.0, 22.5, 32.0]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([None, "happy", "sad"]), st.integers(0, 3)), min_size=1))
def test_the_last_state_sent_is_the_last_there_was(history: list[tuple[str | None, int]]) -> None:
    throttle, at_s, sent = Throttle(), 0.0, None
    for label, step_s in history:
        at_s += step_s
        if throttle.due(state(label, at_s=at_s)):
            sent = label
    assert sent == history[-1][0]


def test_the_same_emotion_begun_again_is_a_change() -> None:
    throttle = Throttle()
    assert throttle.due(state("happy", at_s=1, since_s=0))
    assert throttle.due(state("happy", at_s=2, since_s=2))


def test_a_sender_with_the_same_interval_is_not_halved_by_its_jitter() -> None:
    throttle = Throttle()
    assert all(throttle.due(state("happy", at_s=at_s)) for at_s in (0, 9.9, 19.85, 29.8))


def test_a_clock_that_was_set_back_silences_no_state() -> None:
    throttle = Throttle()
    assert throttle.due(state("happy", at_s=0))
    assert throttle.due(state("happy", at_s=-3600))


def test_health_goes_out_every_thirty_seconds_and_when_the_status_changes() -> None:
    throttle = Throttle()
    sent = [t for t in range(70) if throttle.due(health("behind" if t == 40 else "live", at_s=t))]
    assert sent == [0, 29, 40, 41]


def test_streams_have_their_own_interval() -> None:
    throttle = Throttle()
    assert throttle.due(state(stream="desk"))
    assert throttle.due(state(stream="door"))
    assert throttle.due(health(stream="desk"))
    assert not throttle.due(state(stream="door", at_s=1))


@pytest.mark.parametrize("every", [1, 2, 5])
def test_every_nth_window_goes_out_beginning_with_the_first(every: int) -> None:
    throttle = Throttle(window_every=every)
    assert [n for n in range(20) if throttle.due(window(n))] == list(range(0, 20, every))


def test_transitions_and_info_always_go_out() -> None:
    throttle = Throttle(window_every=100)
    assert all(throttle.due(event) for event in (transition(0), transition(0), INFO, INFO))


def test_windows_are_counted_from_one() -> None:
    with pytest.raises(UsageError, match="window_every"):
        Throttle(window_every=0)
