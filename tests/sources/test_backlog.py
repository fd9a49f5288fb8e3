"""Audio that comes faster than real time: what is jumped over, and what is not."""

from streamer.sources.backlog import Backlog


def test_audio_at_the_pace_of_the_clock_is_never_jumped_over() -> None:
    backlog = Backlog(5.0)
    assert not any(backlog.jumps_over(0.02, 100 + 0.02 * k) for k in range(10_000))


def test_a_clock_that_runs_fast_is_no_backlog() -> None:
    backlog = Backlog(5.0)  # 0.1 % fast: 7 s ahead after two hours
    assert not any(backlog.jumps_over(0.1001, 100 + 0.1 * k) for k in range(72_000))


def test_audio_that_came_late_after_a_stall_is_kept() -> None:
    backlog = Backlog(5.0)
    arrivals = [0.02 * k for k in range(500)] + [12.9] * 145 + [12.9 + 0.02 * k for k in range(500)]
    assert not any(backlog.jumps_over(0.02, at) for at in arrivals)


def test_a_burst_beyond_the_limit_is_jumped_over_until_audio_is_present_again() -> None:
    backlog = Backlog(5.0)
    burst = [backlog.jumps_over(0.02, 100.0 + 0.001 * k) for k in range(1000)]  # 20 s of audio within a second
    assert burst.index(True) == 263  # 263 blocks are 5.26 s, of which 0.26 s have passed
    assert all(burst[263:])
    after = [backlog.jumps_over(0.02, 101.0 + 0.02 * k) for k in range(500)]
    assert after.index(False) <= 16  # a third of a second
    assert not any(after[16:])


def test_a_sender_that_never_keeps_the_pace_is_not_dropped_whole() -> None:
    backlog = Backlog(5.0)
    kept = [not backlog.jumps_over(0.1, 100.0 + 0.01 * k) for k in range(6000)]  # ten times real time
    assert 0.1 < sum(kept) / len(kept) < 0.5
