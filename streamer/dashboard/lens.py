"""Which part of the past the timeline shows, and where its cursor stands."""

import math
from dataclasses import dataclass, replace

SPANS_S = (30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0)
PAGE = 0.5  # of the span, that a page scrolls


@dataclass(frozen=True, slots=True)
class Lens:
    """The section of time on the timeline: its last `span_s` seconds, or an older stretch of that length.

    Times are seconds since the epoch. Every method returns another lens.
    """

    span_s: float
    end: float | None = None  # None: now, and it moves with time
    cursor: float | None = None  # a moment inside; None: there is no cursor

    def right(self, now: float) -> float:
        """Return the moment at the right edge."""
        return now if self.end is None else self.end

    def zoom(self, steps: int, now: float) -> "Lens":
        """Show more (`steps` > 0) or less of the past, around the cursor where there is one."""
        spans = sorted({*SPANS_S, self.span_s})
        span = spans[min(len(spans) - 1, max(0, spans.index(self.span_s) + steps))]
        if self.cursor is None:
            return replace(self, span_s=span)
        place = (self.right(now) - self.cursor) / self.span_s  # of the cursor, from the right edge
        return replace(self, span_s=span)._until(self.cursor + place * span, now)

    def page(self, pages: int, now: float, oldest: float) -> "Lens":
        """Scroll by half a screen, no further back than `oldest`; the cursor moves along."""
        moved_s = pages * PAGE * self.span_s
        lens = self._until(max(self.right(now) + moved_s, oldest + self.span_s), now)
        if self.cursor is None:
            return lens
        return replace(lens, cursor=self.cursor + lens.right(now) - self.right(now))

    def step(self, columns: int, bin_s: float, now: float, oldest: float) -> "Lens":
        """Move the cursor by so many columns, and the section with it at its edges; past now, the cursor goes."""
        if self.cursor is None:
            if columns > 0:
                return self
            cursor = min(self.right(now), (math.floor(self.right(now) / bin_s) + 0.5) * bin_s)
        else:
            cursor = max(self.cursor + columns * bin_s, oldest)
        if cursor >= (math.floor(now / bin_s) + 1) * bin_s:
            return Lens(self.span_s)
        lens = replace(self, cursor=cursor)
        left = (math.floor(self.right(now) / bin_s) + 1) * bin_s - self.span_s
        if cursor < left:
            return lens._until(self.right(now) - (left - cursor) - bin_s / 2, now)
        if cursor > self.right(now) and self.end is not None:
            return lens._until(cursor + bin_s / 2, now)
        return lens

    def point_at(self, moment: float, now: float) -> "Lens":
        """Set the cursor on a moment."""
        return replace(self, cursor=moment) if moment <= now else Lens(self.span_s)

    def _until(self, end: float, now: float) -> "Lens":
        """Return the lens with another right edge; at or past now it follows time again."""
        return replace(self, end=None if end >= now else end)
