"""A shard acts only while it has proof that it is not fenced."""

from streamer.fleet.leases import HOLD_S
from streamer.fleet.tenure import LOOK_S, Tenure


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_tenure_lasts_for_a_while_after_each_proof() -> None:
    clock = Clock()
    tenure = Tenure(clock)
    clock.now += HOLD_S - 0.1
    assert tenure.holds
    tenure.renew()
    clock.now += HOLD_S - 0.1
    assert tenure.holds
    clock.now += 0.2
    assert not tenure.holds


def test_it_looks_for_a_proof_in_time() -> None:
    clock = Clock()
    tenure = Tenure(clock)
    assert not tenure.wants_proof
    clock.now += LOOK_S + 0.01
    assert tenure.wants_proof
    assert LOOK_S < HOLD_S / 3


def test_a_proof_counts_from_when_it_was_asked_for() -> None:
    clock = Clock()
    tenure = Tenure(clock)
    asked_at = tenure.now()
    clock.now += HOLD_S - 1.0
    tenure.renew(asked_at)
    clock.now += 1.1
    assert not tenure.holds


def test_a_tenure_that_is_over_is_not_renewed_and_another_incarnation_has_a_new_one() -> None:
    clock = Clock()
    tenure = Tenure(clock)
    before = tenure.incarnation
    clock.now += HOLD_S
    tenure.renew()
    assert not tenure.holds
    tenure.begin()
    assert tenure.holds
    assert tenure.incarnation != before
