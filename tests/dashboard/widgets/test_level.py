import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.dashboard.drawing import line_width
from streamer.dashboard.widgets.level import dbfs_to_cells, meter, scale
from tests.dashboard.lines import text


@pytest.mark.parametrize(("dbfs", "cells"), [(-120.0, 0), (-72.0, 0), (-36.0, 20), (0.0, 40), (6.0, 40)])
def test_the_level_scale_is_fixed(dbfs: float, cells: float) -> None:
    assert dbfs_to_cells(dbfs, 40) == cells


@given(st.floats(-130, 3), st.floats(-130, 3), st.floats(-130, 3), st.floats(-130, 3), st.integers(0, 120))
def test_the_meter_takes_exactly_its_width(rms: float, peak: float, hold: float, noise: float, width: int) -> None:
    assert line_width(meter(rms, peak, hold, noise, width)) == width


def test_the_meter_marks_peak_hold_and_noise_floor() -> None:
    drawn = text(meter(-36.0, -24.0, -12.0, -60.0, 72))
    assert drawn.index("┃") == 60
    assert drawn.index("╎") == 12
    assert drawn.count("▒") == 12


def test_a_noise_floor_below_the_scale_is_not_drawn() -> None:
    assert "╎" not in text(meter(-120.0, -120.0, None, -120.0, 40))


@pytest.mark.parametrize("width", [0, 5, 13, 40, 100])
def test_the_numbers_below_the_meter_never_touch(width: int) -> None:
    numbers = scale(width).split()
    assert len(scale(width)) == width
    assert all(-72 <= int(number) <= 0 for number in numbers)
