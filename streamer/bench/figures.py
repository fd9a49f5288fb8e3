"""What every measurement of this room gives: percentiles, criteria with their verdict, tables for a README."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that must hold, and whether it does."""

    name: str
    limit: str  # what is allowed, in words
    measured: str
    met: bool


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of many values: three nearest ranks."""

    p50: float
    p95: float
    p99: float


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank: the smallest of `values` that at least `share` (0 to 1) of them do not exceed.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("No values have no percentile.")
    return sorted(values)[max(1, ceil(share * len(values))) - 1]


def percentiles(values: Sequence[float]) -> Percentiles:
    """p50, p95 and p99 of `values`. Raises ValueError where there are none."""
    return Percentiles(*(percentile(values, share) for share in (0.50, 0.95, 0.99)))


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verdict_table(criteria: Sequence[Criterion]) -> str:
    """The criteria as a Markdown table."""
    return markdown(
        ("criterion", "limit", "measured", "met"),
        [(c.name, c.limit, c.measured, "yes" if c.met else "NO") for c in criteria],
    )
