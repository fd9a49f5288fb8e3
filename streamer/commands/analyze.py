"""`streamer analyze`: what a set of embeddings shows."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from streamer.analysis.dataset import read_set
from streamer.errors import StreamerError
from streamer.extras import install_command

REPORT = "report.html"


def run_analyze(folder: Path, *, out: Path | None = None, neighbours_of: str | None = None) -> None:
    """Analyses what `streamer embed` wrote into `folder` and writes `report.html` and its pictures.

    Args:
        folder: with `embeddings.npy` and `metadata.csv`.
        out: where the report goes; into `folder/analysis`, if None.
        neighbours_of: a recording by its name in `metadata.csv`, whose nearest neighbours are listed.

    Raises:
        UsageError: `folder` holds no set, or one that is too small; the recording is not in it.
        StreamerError: the extra `analysis` is not installed, or the report cannot be written.
    """
    embedded = read_set(folder)
    try:
        from streamer.analysis import analyze, project
    except ImportError as error:
        raise StreamerError(
            f"streamer analyze needs {error.name}, which is not installed; {install_command('analysis')}."
        ) from error
    screen = Console(stderr=True)
    with screen.status("analysing") as status:
        findings = analyze.analyze(embedded, neighbours_of, lambda step: status.update(f"analysing: {step}"))
    target = folder / "analysis" if out is None else out
    try:
        target.mkdir(parents=True, exist_ok=True)
        for stem, png in findings.pictures.items():
            (target / f"{stem}.png").write_bytes(png)
        (target / REPORT).write_text(analyze.write_page(findings, embedded), encoding="utf-8")
    except OSError as error:
        raise StreamerError(f"{target} cannot be written ({error.strerror}); give --out another folder.") from error
    console = Console(soft_wrap=True, highlight=False)
    _print(console, "In numbers", ("", ""), analyze.number_rows(findings))
    _print(console, analyze.CLUSTER_TITLE, analyze.CLUSTER_COLUMNS, analyze.cluster_rows(findings.clusterings))
    if findings.neighbours_of is not None:
        rows = analyze.neighbour_rows(findings.neighbours)
        _print(console, f"Nearest neighbours of {findings.neighbours_of}", analyze.NEIGHBOUR_COLUMNS, rows)
    if not project.umap_is_installed():
        screen.print(project.UMAP_HINT, markup=False)
    console.print(f"Report: {target / REPORT}", markup=False)


def _print(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*columns, title=title, title_justify="left", show_header=any(columns))
    for row in rows:
        table.add_row(*row)
    console.print(table)
