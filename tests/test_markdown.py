"""Markdown tables of the reports."""

from streamer.markdown import markdown_table


def test_figures_are_aligned_to_the_right() -> None:
    table = markdown_table(("stage", "p50"), [("encode", 18.6)])
    assert table == "| stage | p50 |\n| --- | ---: |\n| encode | 18.6 |"


def test_as_many_columns_as_wanted_are_aligned_to_the_left() -> None:
    assert markdown_table(("a", "b", "c"), [], left=2).splitlines()[1] == "| --- | --- | ---: |"
