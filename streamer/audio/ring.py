"""Ring buffer between a capture thread and the worker: preallocated, overwrite-oldest, absolute positions."""

import threading
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from streamer.arrays import Samples
from streamer.audio.clock import elapsed_s, wall_s
from streamer.constants import SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class RingStats:
    """The ring's counters at one moment; all in samples at 24 kHz since the stream began."""

    capacity: int
    written: int  # absolute position after the newest sample
    read: int  # absolute position after the newest sample that was read
    overwritten: int  # lost because they were not read in time, exact
    gaps: int  # breaks in the audio that the writer announced (device lost, muted, restarted)
    ended: bool  # the writer will write no more
    gap_s: float = 0.0  # seconds missing there and elsewhere, but not those muted; grows while audio is missing


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive samples, as `read` returns them."""

    start: int  # absolute position of the first sample
    samples: Samples  # [n] float32, a copy
    lost: int  # samples overwritten between the last read and `start`
    broken: bool  # audio before `start` is not the direct past (lost samples, or an announced gap): reset any state


@dataclass(slots=True)
class _Run:
    """An unbroken run of samples, and its time anchors."""

    start: int  # position of its first sample
    floor_s: float | None  # seconds since the epoch at which the run before it ended: time never falls below
    anchors: deque[tuple[float, float]] = field(default_factory=deque)  # (position, seconds since the epoch), growing

    def add(self, position: float, epoch_s: float) -> None:
        """Add an anchor; its time is raised to the latest one, so that time never falls."""
        latest = self.anchors[-1][1] if self.anchors else self.floor_s
        self.anchors.append((position, epoch_s if latest is None else max(epoch_s, latest)))

    def forget_before(self, position: int) -> None:
        """Drop anchors that no position from `position` on needs."""
        while len(self.anchors) > 2 and self.anchors[1][0] < position:
            self.anchors.popleft()

    def time_of(self, position: int) -> float | None:
        """Return the time of `position` by interpolation, or extrapolation at the ends; None without an anchor."""
        after: tuple[float, float] | None = None
        for anchor in reversed(self.anchors):
            if anchor[0] < position:
                return _between(anchor, after, position)
            after = anchor
        if after is not None:
            epoch_s = after[1] - (after[0] - position) / SAMPLE_RATE
            return epoch_s if self.floor_s is None else max(self.floor_s, epoch_s)
        return None if self.floor_s is None else self.floor_s + (position - self.start) / SAMPLE_RATE


def _between(before: tuple[float, float], after: tuple[float, float] | None, position: int) -> float:
    if after is None:
        return before[1] + (position - before[0]) / SAMPLE_RATE
    return before[1] + (after[1] - before[1]) * (position - before[0]) / (after[0] - before[0])


class RingBuffer:
    """Ring buffer for one writer and one reader; it sets the event `on_write`, so one reader can wait for many rings.

    Positions count the samples ever written. A gap adds none: how long it was shows in the wall clock alone. So time
    is kept apart from position: the writer adds anchors, `time_of` interpolates between those of one unbroken run.

    Attributes:
        start_time: when a recording's first sample was recorded, seconds since the epoch, where the user states it;
            events are then timed by their position. None: by the anchors.
    """

    def __init__(self, capacity: int, on_write: threading.Event | None = None, start_time: float | None = None) -> None:
        if capacity <= 0:
            raise ValueError(f"A ring needs room for at least one sample, not {capacity}.")
        self.capacity = capacity
        self.start_time = start_time
        self.on_write = on_write or threading.Event()
        self._data: Samples = np.zeros(capacity, dtype=np.float32)
        self._room = threading.Condition()  # guards everything below; notified when the reader made room
        self._written = 0
        self._read = 0
        self._overwritten = 0
        self._gaps: deque[int] = deque()  # positions of announced breaks that the reader has not reached
        self._gap_count = 0
        self._runs = deque([_Run(0, None)])
        self._ended = False
        self._heard_s: float | None = None  # when live audio came last; None: never, or it was muted since
        self._missing_s: float | None = None  # since when audio is missing
        self._gap_s = 0.0  # of gaps that are over

    def write(self, samples: Samples, captured: tuple[float, float] | None = None) -> None:
        """Append `samples` ([n] float32); the oldest unread ones are overwritten where there is no room.

        `captured` is (position, seconds since the epoch): that position of the stream was captured at that moment. The
        position may lie past the newest sample, because a resampler holds some back. Pass one with every write of
        live audio: between anchors time is interpolated, past the newest it is only extrapolated.
        """
        with self._room:
            self._append(samples)
            if captured is not None:
                self._runs[-1].add(*captured)
                self._forget()
                self._note_heard(len(samples) / SAMPLE_RATE, captured[1])
        self.on_write.set()

    def write_waiting(self, samples: Samples, stop: threading.Event) -> bool:
        """Append `samples` without overwriting: wait for the reader. Return False where `stop` was set meanwhile."""
        while len(samples) and not stop.is_set():
            with self._room:
                room = max(0, self.capacity - (self._written - self._read))
                self._append(samples[:room])
                samples = samples[room:]
                if room == 0:
                    self._room.wait(0.1)  # so that `stop` is seen within that time
            self.on_write.set()
        return not stop.is_set()

    def mark_gap(self, *, muted: bool = False) -> None:
        """Announce that what is written next does not follow directly on what was written before.

        `muted`: it is missing because the user wants that, so its length is not counted.
        """
        with self._room:
            self._note_missing(muted)
            if self._runs[-1].start != self._written:  # not at the very start, and once a place
                self._gaps.append(self._written)
                self._gap_count += 1
                self._runs.append(_Run(self._written, self.time_of(self._written)))

    def count_missing(self, seconds: float) -> None:
        """Count seconds that turned out to be missing from audio that went on."""
        with self._room:
            self._gap_s += seconds

    def end(self) -> None:
        """Announce that nothing more will be written."""
        with self._room:
            self._ended = True
        self.on_write.set()

    def available(self) -> int:
        """Return how many samples can be read now."""
        with self._room:
            return min(self._written - self._read, self.capacity)

    def read(self, least: int, most: int, multiple: int = 1) -> Chunk | None:
        """Return the oldest unread samples: `least` to `most` of them, a multiple of `multiple`; None if too few.

        A chunk never spans an announced gap. What is left before a gap, or before the end, comes as a chunk of its own
        that may be shorter than `least` and no multiple; the chunk after a gap is `broken`. So at the end, reading
        until `available()` is 0 gets every sample.

        Raises:
            ValueError: no chunk could ever meet the three bounds.
        """
        if not 0 < least <= most // multiple * multiple or least > self.capacity:
            raise ValueError(
                f"No chunk of a ring of {self.capacity} can hold at least {least}, at most {most} samples, "
                f"and a multiple of {multiple}."
            )
        with self._room:
            start = max(self._read, self._written - self.capacity)
            gap = next((gap for gap in self._gaps if gap > start), None)
            held = (self._written if gap is None else gap) - start
            count = min(held, most) // multiple * multiple
            if count < least:
                if held == 0 or (gap is None and not self._ended):
                    return None
                count = held  # nothing will ever be added to these
            return self._take(start, count)

    def time_of(self, position: int) -> float | None:
        """Return when the sample before `position` was captured, in seconds since the epoch; None before any anchor.

        It never falls from one position to a later one, as long as every write has an anchor. Times are known for two
        lengths of the ring behind the newest sample.
        """
        with self._room:
            run = next((run for run in reversed(self._runs) if run.start < position), self._runs[0])
            return run.time_of(position)

    def recent(self, position: int) -> tuple[Samples, int]:
        """Return a copy of the samples from `position` on that the ring still holds, and the position after them.

        Reads without taking anything from the reader: for a level meter.
        """
        with self._room:
            start = min(max(position, self._written - self.capacity), self._written)
            return self._copy(start, self._written - start), self._written

    def stats(self) -> RingStats:
        """Return the counters now."""
        with self._room:
            unread_loss = max(0, self._written - self._read - self.capacity)
            gap_s = self._gap_s + (0.0 if self._missing_s is None else elapsed_s() - self._missing_s)
            return RingStats(
                self.capacity, self._written, self._read, self._overwritten + unread_loss, self._gap_count, self._ended,
                gap_s,
            )  # fmt: skip

    def _note_heard(self, length_s: float, captured_s: float) -> None:
        """Note that live audio of so many seconds came, whose end was captured at `captured_s` (of the epoch)."""
        # It may be written late: what was queued when the process was stopped is written when it goes on. And it was
        # not captured before what came before it, whatever the wall clock says, which may have been set.
        captured = elapsed_s() - max(0.0, wall_s() - captured_s)
        heard_s = captured if self._heard_s is None else max(self._heard_s, captured)
        if self._missing_s is not None:
            self._gap_s += max(0.0, heard_s - length_s - self._missing_s)
            self._missing_s = None
        self._heard_s = heard_s

    def _note_missing(self, muted: bool) -> None:
        """Note that audio is missing since it was last heard."""
        if not muted:
            self._missing_s = self._heard_s if self._missing_s is None else self._missing_s
            return
        if self._missing_s is not None:
            self._gap_s += elapsed_s() - self._missing_s
        self._heard_s = self._missing_s = None

    def _take(self, start: int, count: int) -> Chunk:
        lost = start - self._read
        broken = lost > 0
        while self._gaps and self._gaps[0] <= start:
            self._gaps.popleft()
            broken = True
        samples = self._copy(start, count)
        self._overwritten += lost
        self._read = start + count
        self._room.notify()
        return Chunk(start, samples, lost, broken)

    def _copy(self, start: int, count: int) -> Samples:
        first = start % self.capacity
        head = self._data[first : first + count]
        return np.concatenate([head, self._data[: count - len(head)]])

    def _append(self, samples: Samples) -> None:
        kept = samples[-self.capacity :]
        first = (self._written + len(samples) - len(kept)) % self.capacity
        head = min(len(kept), self.capacity - first)
        self._data[first : first + head] = kept[:head]
        self._data[: len(kept) - head] = kept[head:]
        self._written += len(samples)

    def _forget(self) -> None:
        oldest = self._written - 2 * self.capacity
        while len(self._runs) > 1 and self._runs[1].start < oldest:
            self._runs.popleft()
        self._runs[0].forget_before(oldest)
