"""The past of one stream: every window of the last minutes, and what is older thinned to a point every two seconds."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from streamer.feed.snapshot import TimelinePoint

KEPT_S = 86_400.0  # a day: 43,000 points of some 130 bytes
MOST_POINTS = 50_000  # whatever comes
THIN_S = 2.0  # distance of two old points with the same label
AHEAD_S = 2.0  # by so much no window of a live stream is early: its clock would have to gain that
JUMP_S = 600.0  # by more no recording runs between two windows, also where a broker drops most
HOLD_S = 2.5  # a point stands for the time until the next one, but for no longer


def span_end(points: Sequence[TimelinePoint], index: int, now: float) -> float:
    """Return until when the label of the point at `index` held: its next neighbour, or `HOLD_S` later, or `now`."""
    point = points[index]
    following = points[index + 1].time if index + 1 < len(points) else now
    return min(max(point.time, following), point.time + HOLD_S)


@dataclass(slots=True)
class TrackClock:
    """Places windows on a stream's timeline: where they were heard or, of a recording that is read fast, where it is.

    Such a recording runs ahead of the time of day, and so does its timeline: a minute there is one of speech.
    """

    newest: float = 0.0  # place of the newest window
    seen: float = 0.0  # time of day at which it came
    ahead: bool = False  # whether the recording runs ahead
    _zero: float | None = None  # place of the stream's first sample
    _end_s: float = 0.0  # of the newest window

    def place(self, end_s: float, heard: float, now: float) -> float:
        """Return the place of the window that ends at `end_s` of its stream and, by its own time, was `heard` then."""
        if now < self.seen:  # the time of day was set back
            self._zero, self.ahead = None, False
        if self._zero is not None and not 0 <= end_s - self._end_s <= JUMP_S:  # the stream began anew
            self._zero = max(heard, self.newest) - end_s if self.ahead else None
        self._zero = heard - end_s if self._zero is None else max(self._zero, heard - end_s)
        self.ahead = self.ahead or self._zero + end_s > now + AHEAD_S
        self.newest = self._zero + end_s if self.ahead else heard
        self.seen, self._end_s = now, end_s
        return self.newest


@dataclass(slots=True)
class Track:
    """Collects points, in the order of their time, of a stream whose windows and transitions may come late."""

    recent_s: float  # how long every point is kept as it is
    _recent: list[TimelinePoint] = field(default_factory=list)
    _past: list[TimelinePoint] = field(default_factory=list)
    _past_view: tuple[TimelinePoint, ...] | None = ()

    def add(self, point: TimelinePoint) -> None:
        """Insert one point, behind those of the same moment."""
        if not self._recent or point.time >= self._recent[-1].time:
            self._recent.append(point)
        elif not self._past or point.time >= self._recent[0].time:
            self._recent.insert(_place(self._recent, point.time), point)
        else:
            self._past.insert(_place(self._past, point.time), point)
            self._past_view = None
        self._thin()

    def cut(self, now: float) -> None:
        """Drop what lies after `now`: the clock was set back."""
        while self._recent and self._recent[-1].time > now:
            self._recent.pop()
        while not self._recent and self._past and self._past[-1].time > now:
            self._past.pop()
            self._past_view = None

    def hold(self, start: float, end: float, label: str, confidence: float) -> None:
        """Fill what no point covers between the two moments: the windows of an emotion did not arrive."""
        inside = [point.time for part in (self._past, self._recent) for point in _between(part, start, end)]
        for before, after in zip([start, *inside], [*inside, end], strict=True):
            if after - before > HOLD_S:
                steps = int((after - before) / THIN_S)
                for step in range(steps):
                    self.add(TimelinePoint(before + step * THIN_S, label, confidence, False))

    def recall(self, points: Sequence[TimelinePoint]) -> None:
        """Take in points of a past that was recorded, oldest first, as far as they lie before all of this run."""
        first = next(iter(self._past or self._recent), None)
        older = [point for point in points if first is None or point.time < first.time]
        if not older:
            return
        newest = self._recent[-1].time if self._recent else older[-1].time
        thinned: list[TimelinePoint] = []
        for point in older:
            if point.time < newest - self.recent_s:
                self._keep(thinned, point)
        self._recent[:0] = [point for point in older if point.time >= newest - self.recent_s]
        self._past[:0] = thinned
        self._past_view = None

    def view(self) -> tuple[TimelinePoint, ...]:
        """Return all points, oldest first."""
        if self._past_view is None:
            self._past_view = tuple(self._past)
        return (*self._past_view, *self._recent)

    def _thin(self) -> None:
        newest = self._recent[-1].time
        old = 0
        while self._recent[old].time < newest - self.recent_s:
            self._keep(self._past, self._recent[old])
            old += 1
        if old:
            del self._recent[:old]
            gone = _place(self._past, newest - KEPT_S)
            del self._past[:gone]
            self._past_view = None
        surplus = len(self._past) + len(self._recent) - MOST_POINTS
        if surplus > 0 and self._past:
            del self._past[:surplus]
            self._past_view = None
        elif surplus > 0:
            del self._recent[:surplus]

    @staticmethod
    def _keep(kept: list[TimelinePoint], point: TimelinePoint) -> None:
        """Append `point`, unless it says what the last kept one says and comes too soon after it."""
        last = kept[-1] if kept else None
        same = last is not None and last.label == point.label and not point.lost
        if last is None or not same or not 0 <= point.time - last.time < THIN_S:
            kept.append(point)


def _between(points: list[TimelinePoint], start: float, end: float) -> list[TimelinePoint]:
    return points[bisect_left(points, start, key=lambda point: point.time) : _place(points, end)]


def _place(points: Sequence[TimelinePoint], moment: float) -> int:
    return bisect_right(points, moment, key=lambda point: point.time)
