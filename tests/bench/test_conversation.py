"""Streams with a share of speech, and a clock that only steps move."""

import numpy as np
import pytest

from streamer.bench.conversation import SETTLING_HOPS, follow, make_conversation

HOP_MS = 240.0
HOP = 5760


@pytest.mark.parametrize("speech", [0.1, 0.2, 1.0])
def test_streams_have_speech_for_the_share_of_the_time(speech):
    conversation = make_conversation(3, speech)
    loud = np.abs(conversation.audio).reshape(-1, 4800).max(axis=1) > 0.02  # in fifths of a second
    assert 0.8 * speech < loud.mean() <= speech
    assert len(set(conversation.offsets)) == 3


def test_hops_follow_one_another_and_the_recording_repeats():
    conversation = make_conversation(2, 1.0)
    both = conversation.hops(7, 2, 18)
    for row in (0, 1):
        apart = [conversation.hops(hop, 1, 18)[row] for hop in (7, 8)]
        np.testing.assert_array_equal(both[row], np.concatenate(apart))
    hops = 3 * len(conversation.audio) // HOP  # three repetitions are whole hops
    np.testing.assert_array_equal(conversation.hops(0, 1, 18)[0], conversation.hops(hops, 1, 18)[0])


def record(times_ms):
    """A step that takes the given times by the first hop that it processes, else 10 ms; and what it was asked for."""
    asked = []

    def step(first, count):
        asked.append((first, count))
        return times_ms.get(first, 10.0)

    return step, asked


def test_results_of_a_machine_that_keeps_up_come_as_soon_as_a_step_is_over():
    step, asked = record({})
    delays = follow(step, 18, 5, late=0)
    assert asked == [(hop, 1) for hop in range(SETTLING_HOPS + 5)]
    assert delays.step_ms == (10.0,) * 5
    assert delays.result_ms == pytest.approx([10.0] * 5)
    assert not delays.behind


def test_hops_that_arrive_during_a_long_step_are_taken_together_and_counted_from_their_ends():
    step, asked = record({SETTLING_HOPS: 500.0})
    delays = follow(step, 18, 4, late=4)
    assert asked[SETTLING_HOPS:] == [(SETTLING_HOPS, 1), (SETTLING_HOPS + 1, 2), (SETTLING_HOPS + 3, 1)]
    assert delays.result_ms == pytest.approx([500.0, 270.0, 30.0, 10.0])
    assert not delays.behind


def test_it_ends_where_windows_would_be_skipped():
    step, asked = record({SETTLING_HOPS: 3.5 * HOP_MS})
    delays = follow(step, 18, 50, late=50)
    assert asked[-1] == (SETTLING_HOPS + 1, 3)
    assert delays.behind


def test_it_ends_once_too_many_results_are_late():
    step, asked = record({SETTLING_HOPS: 2.5 * HOP_MS})
    follow(step, 18, 50, late=0)
    assert asked[-1] == (SETTLING_HOPS, 1)


def test_what_streams_take_at_first_does_not_count():
    step, _ = record(dict.fromkeys(range(SETTLING_HOPS), 1000.0))
    assert follow(step, 18, 3, late=0).result_ms == pytest.approx([10.0] * 3)
