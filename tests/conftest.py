"""What every test may ask for."""

import os

# Before torch is imported anywhere: its threads would only wait for each other on a busy two-core machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


def missing(part: str, cure: str) -> None:
    """Skip the test for want of a real part; under CI its absence is a failure."""
    message = f"{part} is not here; {cure}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
