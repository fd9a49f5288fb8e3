"""Markdown tables for the reports of `streamer bench` and `streamer evaluate`."""

from collections.abc import Iterable, Sequence


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Return a table whose first `left` columns are aligned to the left and the others, the figures, to the right."""
    rule = [*["---"] * left, *["---:"] * (len(headings) - left)]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (headings, rule, *rows))
