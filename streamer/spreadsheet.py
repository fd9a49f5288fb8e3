"""Text in CSV files that a spreadsheet must show and not run."""

from typing import Any

# What makes a spreadsheet take a cell for a formula; a tab or a carriage return is skipped before it looks.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TEXT = "'"  # before a cell: what follows is text


def csv_cell(value: Any) -> Any:
    """Return `value` as it may stand in a CSV file: text that a spreadsheet would run gets an apostrophe in front.

    A file's or a speaker's name may come from anywhere, and `=HYPERLINK(…)` in a cell is run when the table is opened.
    Numbers stay as they are, negative ones too; `csv_text` undoes it exactly.
    """
    if not isinstance(value, str):
        return value
    return _TEXT + value if value.lstrip(_TEXT).startswith(_FORMULA) else value


def csv_text(cell: str) -> str:
    """Return the text that `csv_cell` wrote as `cell`."""
    if cell.startswith(_TEXT) and cell.lstrip(_TEXT).startswith(_FORMULA):
        return cell[len(_TEXT) :]
    return cell
