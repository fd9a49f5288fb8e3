"""Timestamps of captured audio: measured on the monotonic clock, reported in seconds since the epoch."""

import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol

STEP_S = 1.0  # a larger step: the wall clock was set, or the machine slept; drift and leap seconds stay below
SLOWED = 0.5  # seconds by which time is held back in a second, while it is ahead


class Clock(Protocol):
    """The part of the module `time` that sources use; tests pass their own."""

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        ...

    def time(self) -> float:
        """Return seconds since the epoch."""
        ...


SYSTEM: Clock = time


def elapsed_s() -> float:
    """Return seconds that never jump and, where the system can tell (Linux), go on while the machine sleeps."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def wall_s() -> float:
    """Return seconds since the epoch."""
    return time.time()


class WallClock:
    """Converts moments of the monotonic clock to seconds since the epoch, never backwards.

    Where the system's wall clock is set ahead, it is followed at once. Where it is set back, time goes on at half speed
    until the system has caught up: what is timed later never gets an earlier time, and in a while all is right again
    without a restart. Whoever uses several of them follows each some times a second.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.time() - clock.monotonic()
        self._followed_at = clock.monotonic()

    def epoch_s(self, monotonic_s: float) -> float:
        """Return the wall time of a moment of the monotonic clock."""
        return monotonic_s + self._offset

    def follow(self) -> float:
        """Follow the system's wall clock; return by how many seconds it has moved ahead.

        More than `STEP_S` means that the machine slept, or that its clock was set ahead.
        """
        now = self._clock.monotonic()
        passed_s, self._followed_at = now - self._followed_at, now
        ahead_s = -self.lead_s()
        if ahead_s < 0:
            self._offset -= min(-ahead_s, SLOWED * max(0.0, passed_s))
            return 0.0
        self._offset += ahead_s
        return ahead_s

    def lead_s(self) -> float:
        """Return by how many seconds this is ahead of the system's wall clock, because that was set back."""
        return self._offset - (self._clock.time() - self._clock.monotonic())


class CaptureClock:
    """Estimates when the frames of one device were captured, from the arrival times of its callbacks.

    A callback can come late and never early, so the earliest of the last `span_s`, relative to the frames counted,
    determines when each of them was due: late ones neither shift nor jitter the time. PortAudio's own capture time is
    not used: behind PulseAudio it was measured 300 to 420 ms off for the first seconds of a stream, and other host
    APIs leave it at zero.
    """

    def __init__(self, rate_hz: float, span_s: float = 2.0) -> None:
        self._rate_hz = rate_hz
        self._span_s = span_s
        self._frames = 0
        self._starts: deque[tuple[float, float]] = deque()  # (arrival, the stream's start that follows from it), rising

    def captured_s(self, frames: int, arrived_s: float) -> float:
        """Return when the last of the next `frames` was captured (monotonic); their callback came at `arrived_s`."""
        self._frames += frames
        duration_s = self._frames / self._rate_hz
        while self._starts and self._starts[-1][1] >= arrived_s - duration_s:
            self._starts.pop()  # can never be the earliest again
        self._starts.append((arrived_s, arrived_s - duration_s))
        while self._starts[0][0] < arrived_s - self._span_s:
            self._starts.popleft()
        return self._starts[0][1] + duration_s

    def restart(self) -> None:
        """Discard the estimate: the device dropped an unknown number of frames."""
        self._starts.clear()


class Holes:
    """Finds the seconds of audio that a device left out without a word, as when it was suspended for a moment.

    Time passes there, and frames neither come nor come late: the moments of capture of a `CaptureClock` move away from
    the frames counted. Less than `least_s` at once may be a busy machine, or the drift of the device's clock.
    """

    def __init__(self, least_s: float = 0.1) -> None:
        self._least_s = least_s
        self._captured_s: float | None = None
        self._found_s = 0.0
        self._came_late_s = 0.0  # of what was found; the next holes are so much shorter, so that no counter runs back

    def add(self, length_s: float, captured_s: float) -> float:
        """Return the seconds missing before the next `length_s` of audio, captured until `captured_s` (monotonic)."""
        step_s = 0.0 if self._captured_s is None else captured_s - self._captured_s - length_s
        self._captured_s = captured_s
        if abs(step_s) < self._least_s:
            return 0.0
        if step_s < 0:
            self._came_late_s = min(self._came_late_s - step_s, self._found_s)
            return 0.0
        known_s = min(step_s, self._came_late_s)
        self._came_late_s -= known_s
        self._found_s += step_s - known_s
        return step_s - known_s


class RateMeter:
    """Measures frames per second of monotonic time, over a sliding span."""

    def __init__(self, span_s: float = 10.0) -> None:
        self._span_s = span_s
        self._total = 0
        self._marks: deque[tuple[float, int]] = deque()  # (monotonic seconds, frames so far)

    def add(self, frames: int, monotonic_s: float) -> None:
        """Count `frames` that arrived at `monotonic_s`."""
        self._total += frames
        self._marks.append((monotonic_s, self._total))
        while monotonic_s - self._marks[0][0] > self._span_s:
            self._marks.popleft()

    def rate_hz(self) -> float | None:
        """Return the rate over the span; None before a second of it has passed."""
        if not self._marks or self._marks[-1][0] - self._marks[0][0] < 1.0:
            return None
        (first_s, first), (last_s, last) = self._marks[0], self._marks[-1]
        return (last - first) / (last_s - first_s)


@dataclass(slots=True)
class BackOff:
    """Exponential back-off: times of new attempts, at intervals that double from `first_s` to `most_s`."""

    first_s: float
    most_s: float
    due_s: float = 0.0  # monotonic moment of the next attempt
    _interval_s: float = 0.0

    def reset(self, now: float, wait: bool) -> None:
        """Start over: the next attempt is due now, or with `wait` after the first interval."""
        self._interval_s = self.first_s
        self.due_s = now
        if wait:
            self.postpone(now)

    def postpone(self, now: float) -> None:
        """Schedule the next attempt after the next interval, because this one failed."""
        self.due_s = now + self._interval_s
        self._interval_s = min(2 * self._interval_s, self.most_s)
