"""`streamer analyze`: report what a folder of embeddings holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
) -> None:
    """Analyze embeddings and write a report.

    The report holds projections, clusters, similarities and a linear probe.

    \b
    Example:
      streamer analyze embeddings --neighbours-of anna/angry/07.wav
    """
    run_analyze(folder, out=out, neighbours_of=neighbours_of)


def run_analyze(folder: Path, *, out: Path | None = None, neighbours_of: str | None = None) -> None:
    """Analyze what `streamer embed` wrote into `folder`; write `report.html` and its pictures, print the figures.

    Args:
        folder: with `embeddings.npy` and `metadata.csv`.
        out: folder of the report; `folder/analysis` if None.
        neighbours_of: a recording by its name in `metadata.csv`, whose nearest neighbours are listed.

    Raises:
        UsageError: `folder` holds no set, or one that is too small; the recording is not in it.
        StreamerError: the extra `analysis` is not installed, or the report cannot be written.
    """
    from rich.console import Console

    from streamer.analysis.dataset import read_set
    from streamer.errors import StreamerError
    from streamer.extras import install_command

    embedded = read_set(folder)
    try:
        from streamer.analysis import analyze, project
    except ImportError as error:
        raise StreamerError(
            f"streamer analyze needs {error.name}, which is not installed; {install_command('analysis')}."
        ) from error
    screen = Console(stderr=True)
    with screen.status("analyzing") as status:
        findings = analyze.analyze(embedded, neighbours_of, lambda step: status.update(f"analyzing: {step}"))
    target = folder / "analysis" if out is None else out
    try:
        target.mkdir(parents=True, exist_ok=True)
        for stem, png in findings.pictures.items():
            (target / f"{stem}.png").write_bytes(png)
        (target / REPORT).write_text(analyze.write_page(findings, embedded), encoding="utf-8")
    except OSError as error:
        raise StreamerError(f"{target} cannot be written ({error.strerror}); give --out another folder.") from error
    console = Console(soft_wrap=True, highlight=False)
    _print_findings(console, findings)
    if not project.umap_is_installed():
        screen.print(project.UMAP_HINT, markup=False)
    console.print(f"Report: {target / REPORT}", markup=False)


def _print_findings(console: Console, findings: Findings) -> None:
    from streamer.analysis import analyze

    _print_table(console, "In numbers", ("", ""), analyze.number_rows(findings))
    _print_table(console, analyze.CLUSTER_TITLE, analyze.CLUSTER_COLUMNS, analyze.cluster_rows(findings.clusterings))
    if findings.neighbours_of is not None:
        rows = analyze.neighbour_rows(findings.neighbours)
        _print_table(console, f"Nearest neighbours of {findings.neighbours_of}", analyze.NEIGHBOUR_COLUMNS, rows)


def _print_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left", show_header=any(columns))
    for row in rows:
        table.add_row(*row)
    console.print(table)
