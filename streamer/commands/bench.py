"""`streamer bench`: the streaming encoder's step times beside what re-encoding every window costs."""

import json

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from streamer.bench.steps import BenchReport, BenchRow, measure
from streamer.errors import UsageError


def run_bench(*, threads: int, repeats: int, as_json: bool) -> None:
    """Measure and print a table, or JSON.

    Raises:
        UsageError: nothing would be measured.
    """
    if threads < 1 or repeats < 1:
        raise UsageError(f"--threads {threads} --repeats {repeats}: both must be at least 1.")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring, about a minute", total=None)
        report = measure(
            threads=threads,
            repeats=repeats,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        Console().print(_table(report))


def _table(report: BenchReport) -> Table:
    table = Table(
        title=f"Streaming encoder, float32, threads: {report.threads}, torch {report.torch_version}, {report.machine}",
        caption=f"Milliseconds; median and p95 of {report.steps} steps; factor: time / audio. Re-encoding: the encodec "
        f"package on the last {report.window_s:g} s of every stream, once a chunk, timed in turns with the steps.",
    )
    for heading in ("streams", "chunk", "step", "p95", "factor", "re-encoding", "factor", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in report.rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: BenchRow) -> tuple[str, ...]:
    return (
        str(row.streams),
        f"{row.chunk_ms:.1f}",
        f"{row.step_median_ms:.1f}",
        f"{row.step_p95_ms:.1f}",
        f"{row.real_time_factor:.3f}",
        f"{row.reencode_median_ms:.0f}",
        f"{row.reencode_real_time_factor:.2f}",
        f"{row.ratio:.1f}x",
    )
