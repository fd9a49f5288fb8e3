"""Thousands of streams under failures: nothing is served twice, everything is served again, and the check can fail."""

import pytest

from streamer.fleet import ledger
from streamer.fleet.simulation import Failures, Simulation

OFTEN = Failures(death=1 / 100, hang=1 / 50, slow=1 / 200, director=1 / 15)


@pytest.mark.parametrize("seed", range(4))
def test_under_many_failures_no_stream_is_served_twice_and_all_are_served_in_the_end(seed: int) -> None:
    outcome = Simulation(300, 20, 30, seed).run(120.0, OFTEN)
    assert outcome.deaths > 5
    assert outcome.hangs > 5
    assert outcome.director_deaths > 2
    assert outcome.served_twice == 0
    assert outcome.converged_s < 120
    assert outcome.unserved_p50_s <= 6


def test_a_director_that_does_not_wait_for_a_fenced_shard_serves_streams_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "HOLD_S", 0.0)
    assert sum(Simulation(300, 20, 30, seed).run(120.0, OFTEN).served_twice for seed in range(4)) > 0
