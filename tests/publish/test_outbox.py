"""The queue of unsent messages: order, limit and counts."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamer.events import Event
from streamer.publish.outbox import Message, Outbox, OutboxCounts
from tests.support.event_samples import number_of, state, transition, window


def message(event: Event, topic: str = "t") -> Message:
    return Message(topic, event)


def take_all(outbox: Outbox) -> list[int]:
    """Numbers of all transitions, taken and sent."""
    numbers = []
    while (taken := outbox.take_transition()) is not None:
        outbox.sent(taken)
        numbers.append(number_of(taken.event))
    return numbers


def test_transitions_wait_in_order_and_past_the_limit_the_oldest_are_shed() -> None:
    outbox = Outbox()
    for number in range(10_005):
        outbox.put(message(transition(number)))
    assert outbox.counts() == OutboxCounts(sent=0, queued=10_000, shed=5)
    assert take_all(outbox) == list(range(5, 10_005))


def test_of_telemetry_the_newest_of_each_topic_waits() -> None:
    outbox = Outbox()
    for seq in range(4):
        outbox.put(message(window(seq), "desk/window"))
    outbox.put(message(window(9), "door/window"))
    assert outbox.counts() == OutboxCounts(sent=0, queued=2, shed=3)
    assert outbox.take_telemetry() == message(window(3), "desk/window")
    assert outbox.take_telemetry() == message(window(9), "door/window")
    assert outbox.take_telemetry() is None


def test_a_topic_with_many_messages_does_not_starve_another() -> None:
    outbox = Outbox()
    outbox.put(message(window(0, "a"), "a"))
    outbox.put(message(window(0, "b"), "b"))
    outbox.put(message(window(1, "a"), "a"))
    assert outbox.take_telemetry() == message(window(1, "a"), "a")
    outbox.put(message(window(2, "a"), "a"))
    assert outbox.take_telemetry() == message(window(0, "b"), "b")


def test_a_transition_that_was_not_acknowledged_is_the_next_again() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.put(message(transition(number)))
    taken = outbox.take_transition()
    assert taken is not None
    outbox.put(message(transition(3)))
    outbox.put_back(taken)
    assert take_all(outbox) == [0, 1, 2, 3]
    assert outbox.counts() == OutboxCounts(sent=4, queued=0, shed=0)


def test_telemetry_that_failed_yields_to_what_came_meanwhile() -> None:
    outbox = Outbox()
    outbox.put(message(window(0)))
    taken = outbox.take_telemetry()
    assert taken is not None
    outbox.put(message(window(1)))
    outbox.put_back(taken)
    assert outbox.take_telemetry() == message(window(1))
    assert outbox.counts().shed == 1


def test_the_newest_state_can_be_sent_again_but_not_over_a_newer_one() -> None:
    outbox = Outbox()
    for label in ("happy", "sad"):
        outbox.put(message(state(label), "desk/state"))
        taken = outbox.take_telemetry()
        assert taken is not None
        outbox.sent(taken)
    outbox.repeat_states()
    assert outbox.take_telemetry() == message(state("sad"), "desk/state")
    outbox.put(message(state("angry"), "desk/state"))
    outbox.repeat_states()
    assert outbox.take_telemetry() == message(state("angry"), "desk/state")
    assert outbox.take_telemetry() is None


def test_windows_are_not_sent_again() -> None:
    outbox = Outbox()
    outbox.put(message(window()))
    taken = outbox.take_telemetry()
    assert taken is not None
    outbox.sent(taken)
    outbox.repeat_states()
    assert outbox.take_telemetry() is None


def test_what_is_left_at_the_end_counts_as_shed_and_so_does_what_comes_later() -> None:
    outbox = Outbox()
    outbox.put(message(transition(0)))
    outbox.put(message(window(0)))
    outbox.put(message(transition(1)))
    taken = outbox.take_transition()
    assert taken is not None
    outbox.close()
    outbox.put_back(taken)
    outbox.put(message(transition(2)))
    assert outbox.counts() == OutboxCounts(sent=0, queued=0, shed=4)
    assert outbox.take_transition() is None


class AnyUse(RuleBasedStateMachine):
    """However it is used, each message is in exactly one counter, and transitions never change places."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(max_transitions=4)
        self.put = 0
        self.numbers = 0
        self.in_hand: list[Message] = []
        self.acknowledged: list[int] = []

    @rule()
    def a_transition_comes(self) -> None:
        self.outbox.put(message(transition(self.numbers)))
        self.numbers += 1
        self.put += 1

    @rule(topic=st.sampled_from(["a", "b"]))
    def a_window_comes(self, topic: str) -> None:
        self.outbox.put(message(window(), topic))
        self.put += 1

    @precondition(lambda self: not self.in_hand)
    @rule(transitions=st.booleans())
    def one_is_taken(self, transitions: bool) -> None:
        taken = self.outbox.take_transition() if transitions else self.outbox.take_telemetry()
        self.in_hand = [] if taken is None else [taken]

    @precondition(lambda self: self.in_hand)
    @rule(how=st.sampled_from(["sent", "put_back", "give_up"]))
    def it_is_completed(self, how: str) -> None:
        taken = self.in_hand.pop()
        getattr(self.outbox, how)(taken)
        if how == "sent" and taken.topic == "t":
            self.acknowledged.append(number_of(taken.event))

    @invariant()
    def each_message_is_in_exactly_one_counter(self) -> None:
        counts = self.outbox.counts()
        assert counts.sent + counts.queued + counts.shed == self.put
        assert counts.queued <= 4 + 2 + 1

    @invariant()
    def transitions_are_acknowledged_once_and_in_order(self) -> None:
        assert all(a < b for a, b in zip(self.acknowledged, self.acknowledged[1:], strict=False))


TestAnyUse = AnyUse.TestCase
TestAnyUse.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(0, 12))
def test_the_limit_holds_for_any_number(limit: int, count: int) -> None:
    outbox = Outbox(max_transitions=limit)
    for number in range(count):
        outbox.put(message(transition(number)))
    assert take_all(outbox) == list(range(max(0, count - limit), count))
