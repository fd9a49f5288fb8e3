"""Write figures of a report."""

import math


def share(value: float) -> str:
    """Write a share with three decimals; `none` for NaN."""
    return "none" if math.isnan(value) else f"{value:.3f}"


def interval(bounds: tuple[float, float]) -> str:
    """Write an interval."""
    return f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def number(value: float, unit: str = "") -> str:
    """Write a number with one decimal and its unit; `none` for NaN."""
    return "none" if math.isnan(value) else f"{value:.1f}{unit}"
