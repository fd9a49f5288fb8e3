"""`streamer analyze`: report what a folder of embeddings holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.analysis.settings import Grouping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from streamer.analysis.analyze import Findings
REPORT = "report.html"


def analyze(
    folder: Annotated[Path, typer.Argument(help="Folder that `streamer embed` wrote.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Folder of the report. Default: FOLDER/analysis.")] = None,
    neighbours_of: Annotated[
        str | None, typer.Option(metavar="NAME", help="List the recordings most similar to this one. Default: none.")
    ] = None,
    within: Annotated[
        Grouping | None,
        typer.Option(
            help="Take the mean of each corpus or speaker away first, to see what differs within. Default: no."
        ),
    ] = None,
) -> None:
    """Analyze embeddings and write a report.

    The report shows the clips on a map that plays them, clusters, similarities, a linear probe, and the clips that
    disagree most with their label. Its pictures are written as PNG and SVG too.

    \b
    Examples:
      streamer analyze embeddings --neighbours-of anna/angry/07.wav
      streamer analyze several-corpora --within corpus
    """
    run_analyze(folder, out=out, neighbours_of=neighbours_of, within=within)


def run_analyze(
    folder: Path, *, out: Path | None = None, neighbours_of: str | None = None, within: Grouping | None = None
) -> None:
    """Analyze what `streamer embed` wrote into `folder`; write `report.html` and its pictures, print the figures.

    Args:
        folder: with `embeddings.npy` and `metadata.csv`.
        out: folder of the report; `folder/analysis` if None.
        neighbours_of: a recording by its name in `metadata.csv`, whose nearest neighbours are listed.
        within: the mean of each corpus, or of each speaker, is taken away before anything else.

    Raises:
        UsageError: `folder` holds no set, or one that is too small; the recording is not in it.
        StreamerError: the extra `analysis` is not installed, or the report cannot be written.
    """
    from streamer.analysis.dataset import read_set
    from streamer.commands.screen import Screen
    from streamer.errors import StreamerError
    from streamer.extras import install_command

    embedded = read_set(folder)
    try:
        from streamer.analysis import analyze, project
        from streamer.analysis.page import write_page
    except ImportError as error:
        raise StreamerError(
            f"streamer analyze needs {error.name}, which is not installed; {install_command('analysis')}."
        ) from error
    screen = Screen(stderr=True)
    with screen.status("analyzing") as status:
        findings = analyze.analyze(embedded, neighbours_of, lambda step: status.update(f"analyzing: {step}"), within)
    target = folder / "analysis" if out is None else out
    try:
        target.mkdir(parents=True, exist_ok=True)
        for stem, picture in findings.pictures.items():
            (target / f"{stem}.png").write_bytes(picture.png)
            (target / f"{stem}.svg").write_bytes(picture.svg)
        (target / REPORT).write_text(write_page(findings, embedded, target), encoding="utf-8")
    except OSError as error:
        raise StreamerError(f"{target} cannot be written ({error.strerror}); give --out another folder.") from error
    console = Screen(soft_wrap=True)
    _print_findings(console, findings)
    if findings.warning:
        screen.print(findings.warning, markup=False, highlight=False, soft_wrap=True)
    if not project.umap_is_installed():
        screen.print(project.UMAP_HINT, markup=False, soft_wrap=True)  # the command in it is copied
    console.print(f"Report: {target / REPORT}", markup=False)


def _print_findings(console: Console, findings: Findings) -> None:
    from streamer.analysis import page

    _print_table(console, "In numbers", ("", ""), page.number_rows(findings))
    _print_table(console, page.CLUSTER_TITLE, page.CLUSTER_COLUMNS, page.cluster_rows(findings.clusterings))
    if findings.neighbours_of is not None:
        rows = page.neighbour_rows(findings.neighbours)
        _print_table(console, f"Nearest neighbours of {findings.neighbours_of}", page.NEIGHBOUR_COLUMNS, rows)


def _print_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left", show_header=any(columns))
    for row in rows:
        table.add_row(*row)
    console.print(table)
