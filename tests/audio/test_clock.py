"""Clocks for captured audio."""

import numpy as np
import pytest

from streamer.audio.clock import BackOff, CaptureClock, Holes, RateMeter, WallClock
from tests.sources.fake_sounddevice import FakeClock


def test_late_callbacks_shift_no_time() -> None:
    rng = np.random.default_rng(5)
    clock = CaptureClock(48_000)
    captured = []
    for block in range(200):
        late_s = 0.0 if block % 40 == 0 else float(rng.uniform(0, 0.3))
        captured.append(clock.captured_s(960, 50.0 + (block + 1) * 0.02 + late_s))
    np.testing.assert_allclose(captured, 50.0 + np.arange(1, 201) * 0.02, atol=1e-9)


def test_what_was_lost_moves_the_time_on() -> None:
    clock = CaptureClock(48_000)
    for block in range(10):
        clock.captured_s(960, 50.0 + (block + 1) * 0.02)
    clock.restart()
    assert clock.captured_s(960, 50.0 + 0.22 + 0.5) == pytest.approx(50.72)


def missing_s(arrivals_s: list[float], block_s: float = 0.02) -> float:
    """The holes that are found among blocks that come at these moments."""
    clock, holes = CaptureClock(48_000), Holes()
    return sum(holes.add(block_s, clock.captured_s(round(48_000 * block_s), arrived_s)) for arrived_s in arrivals_s)


@pytest.mark.parametrize("hole_s", [0.15, 0.55, 0.9])
def test_what_a_device_leaves_out_for_less_than_a_second_is_found(hole_s: float) -> None:
    before = [50.0 + 0.02 * block for block in range(300)]
    after = [before[-1] + hole_s + 0.02 * block for block in range(1, 300)]
    assert missing_s(before + after) == pytest.approx(hole_s, abs=0.02)
    assert missing_s(before + after + [after[-1] + hole_s + 0.02 * block for block in range(1, 300)]) == pytest.approx(
        2 * hole_s, abs=0.04
    )


def test_blocks_that_come_late_are_not_missing() -> None:
    due_s = [50.0 + 0.02 * block for block in range(1_000)]
    assert missing_s([max(moment, 55.9) if 55 < moment < 55.9 else moment for moment in due_s]) == 0.0
    rng = np.random.default_rng(27)
    assert missing_s([moment + (0.0 if n % 50 == 0 else rng.uniform(0, 0.5)) for n, moment in enumerate(due_s)]) == 0.0


def test_blocks_that_come_late_for_long_are_counted_once_however_often() -> None:
    due_s = [50.0 + 0.02 * block for block in range(3_000)]
    late_s = [moment + (0.3 if moment // 5 % 2 else 0.0) for moment in due_s]  # every other 5 s
    assert missing_s(late_s) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("ppm", [-500, 500])
def test_the_drift_of_a_devices_clock_is_not_missing(ppm: float) -> None:
    assert missing_s([50.0 + 0.02 * block * (1 + ppm / 1e6) for block in range(50_000)]) == 0.0


def test_a_slow_device_is_followed_within_two_seconds() -> None:
    clock = CaptureClock(48_000)
    for block in range(1, 501):
        captured_s = clock.captured_s(960, 50.0 + block * 0.021)
        assert 0 <= 50.0 + block * 0.021 - captured_s < 0.12


def test_the_rate_is_frames_by_monotonic_time_over_the_last_ten_seconds() -> None:
    meter = RateMeter()
    for tick in range(1, 30):
        meter.add(960, tick * 0.02)
    assert meter.rate_hz() is None  # too short to tell
    for tick in range(30, 1_000):
        meter.add(960, tick * 0.02)
    assert meter.rate_hz() == pytest.approx(48_000)
    for tick in range(1_000, 2_000):
        meter.add(61, tick * 0.02)
    assert meter.rate_hz() == pytest.approx(3_050)


def test_the_wall_clock_is_followed_forwards_at_once() -> None:
    system = FakeClock()
    wall = WallClock(system)
    moment = system.now
    before = wall.epoch_s(moment)
    system.epoch += 0.3
    assert wall.follow() == pytest.approx(0.3)
    system.epoch += 3_600
    assert wall.follow() == pytest.approx(3_600)
    assert wall.epoch_s(moment) == pytest.approx(before + 3_600.3)


@pytest.mark.parametrize(("every_s", "back_s"), [(0.02, 0.4), (0.02, 1.5), (0.1, 60.0), (7.0, 3_600.0)])
def test_a_wall_clock_that_was_set_back_is_met_again_and_time_never_runs_backwards(
    every_s: float, back_s: float
) -> None:
    system = FakeClock()
    wall = WallClock(system)
    system.epoch -= back_s
    newest, set_back_at = wall.epoch_s(system.now), system.now
    while wall.lead_s() > 1e-6:
        system.now += every_s
        assert wall.follow() == 0.0 or wall.lead_s() == pytest.approx(0.0, abs=1e-6)  # it did not sleep
        time = wall.epoch_s(system.now)
        assert time > newest
        newest = time
        assert system.now - set_back_at <= 2 * back_s + every_s, "it takes twice as long as it was set back by"
    system.now += 10
    assert wall.follow() == pytest.approx(0.0, abs=1e-6)
    assert wall.epoch_s(system.now) == pytest.approx(system.time())


def test_a_clock_that_is_set_ahead_again_is_right_at_once() -> None:
    system = FakeClock()
    wall = WallClock(system)
    for step_s in (-3_600, 3_600):
        system.epoch += step_s
        system.now += 0.1
        wall.follow()
    assert wall.lead_s() == pytest.approx(0.0, abs=0.06)
    system.now += 0.1
    wall.follow()
    assert wall.lead_s() == pytest.approx(0.0)


def test_attempts_come_at_doubling_intervals() -> None:
    back_off, now, intervals = BackOff(0.5, 5.0), 10.0, []
    back_off.reset(now, wait=True)
    for _ in range(6):
        intervals.append(back_off.due_s - now)
        now = back_off.due_s
        back_off.postpone(now)
    assert intervals == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    back_off.reset(now, wait=False)
    assert back_off.due_s == now
