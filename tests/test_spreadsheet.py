"""Text in CSV files that a spreadsheet must show and not run."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.spreadsheet import csv_cell, csv_text

FORMULAS = ["=1+1", "+1", "-2+3", "@SUM(A1)", '=HYPERLINK("http://x")', "\t=1", "\r=1", "-27.4"]


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_a_spreadsheet_would_run_is_marked_as_text(text: str) -> None:
    assert csv_cell(text) == "'" + text


@pytest.mark.parametrize("value", ["", "happy", "a=b", "it's", "'quoted'", -27.4, -3, 0.5, None])
def test_numbers_and_plain_text_stay_as_they_are(value: object) -> None:
    assert csv_cell(value) == value


@given(st.text(alphabet="=+-@\t\r'ab "))
def test_what_was_written_is_read_back(text: str) -> None:
    assert csv_text(csv_cell(text)) == text
    assert not csv_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_through_a_file_every_text_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([csv_cell(text)] for text in FORMULAS)
    with path.open(newline="", encoding="utf-8") as file:
        assert [csv_text(row[0]) for row in csv.reader(file)] == FORMULAS
