"""Time for captured audio: measured on the monotonic clock, told in seconds since the epoch."""

import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol

STEP_S = 1.0  # the wall clock was set, or the machine slept: drift and leap seconds stay below


class Clock(Protocol):
    """The part of the module `time` that sound needs; tests bring their own."""

    def monotonic(self) -> float:
        """Seconds that never jump."""
        ...

    def time(self) -> float:
        """Seconds since the epoch."""
        ...


SYSTEM: Clock = time


class WallClock:
    """Seconds since the epoch for moments of the monotonic clock, so that they never jump while audio flows."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.time() - clock.monotonic()

    def epoch_s(self, monotonic_s: float) -> float:
        """The wall time of a moment of the monotonic clock."""
        return monotonic_s + self._offset

    def follow(self) -> float:
        """Take over by how many seconds the system's wall clock has moved ahead, and return that.

        More than `STEP_S` means that the machine slept, or that its clock was set ahead. A clock that was set back by
        more is not followed: the times of a stream never run backwards.
        """
        ahead = self._clock.time() - self._clock.monotonic() - self._offset
        if ahead < -STEP_S:
            return 0.0
        self._offset += ahead
        return ahead


class CaptureClock:
    """When the frames of one device were heard, from when its callbacks came.

    A callback can come late and never early, so the earliest of the last `span_s`, relative to the frames counted,
    tells when all of them should have come: late ones neither shift nor jitter the time. PortAudio's own capture time
    is not used: behind PulseAudio it was seen 300 to 420 ms off for the first seconds of a stream, and other host APIs
    leave it at zero.
    """

    def __init__(self, rate_hz: float, span_s: float = 2.0) -> None:
        self._rate_hz = rate_hz
        self._span_s = span_s
        self._frames = 0
        self._starts: deque[tuple[float, float]] = deque()  # (arrival, the stream's start as it tells it), rising

    def heard_s(self, frames: int, arrived_s: float) -> float:
        """The monotonic moment at which the last of the next `frames` was heard; their callback came at `arrived_s`."""
        self._frames += frames
        duration_s = self._frames / self._rate_hz
        while self._starts and self._starts[-1][1] >= arrived_s - duration_s:
            self._starts.pop()  # can never be the earliest again
        self._starts.append((arrived_s, arrived_s - duration_s))
        while self._starts[0][0] < arrived_s - self._span_s:
            self._starts.popleft()
        return self._starts[0][1] + duration_s

    def lost(self) -> None:
        """The device dropped frames, nobody knows how many: what was learnt before them does not hold."""
        self._starts.clear()


class RateMeter:
    """Frames a second of monotonic time, over a sliding span."""

    def __init__(self, span_s: float = 10.0) -> None:
        self._span_s = span_s
        self._total = 0
        self._marks: deque[tuple[float, int]] = deque()  # (monotonic seconds, frames so far)

    def add(self, frames: int, monotonic_s: float) -> None:
        """Count `frames` that came at `monotonic_s`."""
        self._total += frames
        self._marks.append((monotonic_s, self._total))
        while monotonic_s - self._marks[0][0] > self._span_s:
            self._marks.popleft()

    def rate_hz(self) -> float | None:
        """The rate over the span; None before a second of it has passed."""
        if not self._marks or self._marks[-1][0] - self._marks[0][0] < 1.0:
            return None
        (first_s, first), (last_s, last) = self._marks[0], self._marks[-1]
        return (last - first) / (last_s - first_s)


@dataclass(slots=True)
class BackOff:
    """Moments for new attempts, at intervals that double from `first_s` to `most_s`."""

    first_s: float
    most_s: float
    due_s: float = 0.0  # monotonic moment of the next attempt
    _interval_s: float = 0.0

    def reset(self, now: float, wait: bool) -> None:
        """Begin anew: the next attempt is due now, or after the first interval."""
        self._interval_s = self.first_s
        self.due_s = now
        if wait:
            self.postpone(now)

    def postpone(self, now: float) -> None:
        """The attempt failed: the next one is due after the next interval."""
        self.due_s = now + self._interval_s
        self._interval_s = min(2 * self._interval_s, self.most_s)
