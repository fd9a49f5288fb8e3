"""Print step times of the streaming encoder beside other engines, and how many streams it can run."""

import json
from dataclasses import asdict

from rich.progress import Progress
from rich.table import Table

from streamer.bench.capacity import Capacity, CapacityRow, find_capacity
from streamer.bench.steps import BenchReport, StepPlan, measure_steps
from streamer.codec.device import choose_device
from streamer.codec.precision import Precision
from streamer.commands.screen import Screen
from streamer.constants import FRAME_RATE
from streamer.errors import UsageError

_WIDTH = 120  # columns; what the widest table needs


def run_steps(*, threads: int, repeats: int, as_json: bool) -> None:
    """Measure step times and print a table, or JSON.

    Raises:
        UsageError: `threads` or `repeats` is less than 1.
    """
    if threads < 1 or repeats < 1:
        raise UsageError(f"--threads {threads} --repeats {repeats}: both must be at least 1.")
    with Progress(console=Screen(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring, about three minutes", total=None)
        report = measure_steps(
            StepPlan(threads=threads, rounds=repeats),
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        print(json.dumps(asdict(report), indent=2))
        return
    _print(_steps_table(report))
    for line in report.missing:
        print(line)


def run_streams(*, hop_s: float, device: str, precision: Precision, threads: int, as_json: bool) -> None:
    """Find the largest number of streams in real time and print every number tried, or JSON.

    Raises:
        UsageError: the threads or the hop are out of range, or the device does not support the precision.
    """
    hop_frames = round(hop_s * FRAME_RATE)
    if threads < 1 or not 1 <= hop_frames <= 10 * FRAME_RATE:
        raise UsageError(f"--threads {threads} --hop-s {hop_s:g}: give at least 1 thread, and a hop of 1/75 to 10 s.")
    device = choose_device(device)
    with Progress(console=Screen(stderr=True), transient=True) as progress:
        task = progress.add_task("1 stream", total=None)

        def show_row(row: CapacityRow) -> None:
            progress.update(task, description=f"{row.streams} streams: p99 {row.step_p99_ms:.1f} ms; trying others")

        found = find_capacity(
            hop_frames=hop_frames, device=device, precision=precision, threads=threads, on_tried=show_row
        )
    if as_json:
        print(json.dumps(asdict(found), indent=2))
    else:
        _print(_streams_table(found))


def _print(table: Table) -> None:
    """Print as wide as the terminal; into a file or a pipe, wide enough for the whole table."""
    screen = Screen()
    if not screen.is_terminal:
        screen.width = max(screen.width, _WIDTH)
    screen.print(table)


def _steps_table(report: BenchReport) -> Table:
    table = Table(
        title=f"Steps of the streaming encoder, threads: {report.threads}, torch {report.torch_version}, "
        f"{report.machine}, matrix product {report.gflops:.0f} GFLOP/s",
        caption=f"Milliseconds for all streams together; median and p95 of {report.steps} steps, timed in turns. "
        f"Re-encoding: the last {report.window_s:g} s of every stream, once a chunk. Ratio: to streamer float32.",
    )
    for heading in ("streams", "chunk", "engine", "median", "p95", "time / audio", "ratio"):
        table.add_column(heading, justify="left" if heading == "engine" else "right", no_wrap=True)
    before = None
    for row in report.rows:
        if before not in (None, (row.streams, row.chunk_ms)):
            table.add_section()
        before = row.streams, row.chunk_ms
        figures = f"{row.median_ms:.1f}", f"{row.p95_ms:.1f}", f"{row.real_time_factor:.3f}", f"{row.ratio:.2f}"
        table.add_row(str(row.streams), f"{row.chunk_ms:.1f}", row.engine, *figures)
    return table


def _streams_table(found: Capacity) -> Table:
    room = ", the largest number tried" if found.at_limit else ""
    table = Table(
        title=f"{found.largest} streams in real time{room}: {found.device}, {found.precision}, "
        f"threads: {found.threads}",
        caption=f"Milliseconds of one step of all streams, a hop of {found.hop_ms:.1f} ms each; real time: p99 below "
        f"the hop. Matrix product in the same run: {found.gflops:.0f} GFLOP/s.",
    )
    for heading in ("streams", "p50", "p99", "real time"):
        table.add_column(heading, justify="right")
    for row in found.rows:
        table.add_row(
            str(row.streams), f"{row.step_p50_ms:.2f}", f"{row.step_p99_ms:.2f}", "yes" if row.real_time else "no"
        )
    return table
