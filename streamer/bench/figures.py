"""Shared by every measurement here: percentiles, criteria and their verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from streamer.markdown import markdown_table


@dataclass(frozen=True, slots=True)
class Criterion:
    """One requirement, and whether the measurement meets it."""

    name: str
    limit: str  # what is allowed, in words
    measured: str
    met: bool


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Three nearest-rank percentiles of one figure."""

    p50: float
    p95: float
    p99: float


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest rank: the smallest of `values` that at least `share` (0 to 1) of them do not exceed.

    Raises:
        ValueError: `values` is empty.
    """
    if not values:
        raise ValueError("No values have no percentile.")
    return sorted(values)[max(1, ceil(share * len(values))) - 1]


def percentiles(values: Sequence[float]) -> Percentiles:
    """Return p50, p95 and p99 of `values`; raise ValueError if there are none."""
    return Percentiles(*(percentile(values, share) for share in (0.50, 0.95, 0.99)))


def all_met(criteria: Sequence[Criterion]) -> bool:
    """Return the verdict: whether every criterion is met."""
    return all(criterion.met for criterion in criteria)


def verdict_table(criteria: Sequence[Criterion]) -> str:
    """Return the criteria as a Markdown table."""
    return markdown_table(
        ("criterion", "limit", "measured", "met"),
        [(c.name, c.limit, c.measured, "yes" if c.met else "NO") for c in criteria],
    )
