"""Print step times of the streaming encoder beside other engines, and how many streams it can run."""

import json
from dataclasses import asdict

from rich.progress import Progress
from rich.table import Table

from streamer.bench.capacity import Capacity, CapacityPlan, CapacityRow, find_capacity
from streamer.bench.steps import BenchReport, StepPlan, measure_steps
from streamer.codec.device import choose_device
from streamer.codec.precision import Precision
from streamer.commands.screen import Screen
from streamer.constants import FRAME_RATE
from streamer.errors import UsageError

MIN_SPEECH_SHARE = 0.01  # of `--speech`: turns of 10 s in 17 minutes
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


def run_streams(
    *, hop_s: float, device: str, precision: Precision, threads: int, as_json: bool, speech: float | None = None
) -> None:
    """Find the largest number of streams in real time and print every number tried, or JSON.

    Raises:
        UsageError: the threads, the hop or the share of speech are out of range, or the device does not support the
            precision.
    """
    if speech is not None and not MIN_SPEECH_SHARE <= speech <= 1:
        raise UsageError(f"--speech {speech:g}: give the share of the time with speech, {MIN_SPEECH_SHARE:g} to 1.")
    hop_frames = round(hop_s * FRAME_RATE)
    if threads < 1 or not 1 <= hop_frames <= 10 * FRAME_RATE:
        raise UsageError(f"--threads {threads} --hop-s {hop_s:g}: give at least 1 thread, and a hop of 1/75 to 10 s.")
    device = choose_device(device)
    with Progress(console=Screen(stderr=True), transient=True) as progress:
        task = progress.add_task("1 stream", total=None)

        def show_row(row: CapacityRow) -> None:
            progress.update(task, description=f"{row.streams} streams: p99 {row.step_p99_ms:.1f} ms; trying others")

        plan = CapacityPlan(hop_frames, device, precision, threads, speech)
        found = find_capacity(plan, show_row)
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
    conditions = f"{found.device}, {found.precision}, threads: {found.threads}"
    table = Table(title=f"{found.largest} streams in real time{room}: {conditions}")
    if found.speech is None:
        step, rule = "of all streams", "p99 below the hop"
    else:
        step = f"of the whole inference, {100 * found.speech:g} % of the time with speech"
        rule = "the results of 99 % of the hops within two hops of their end, and no window skipped"
    table.caption = (
        f"Milliseconds of one step {step}, a hop of {found.hop_ms:.1f} ms each; real time: {rule}. Matrix product in "
        f"the same run: {found.gflops:.0f} GFLOP/s."
    )
    headings = ("streams", "p50", "p99", *(() if found.speech is None else ("hop → results, p99",)), "real time")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in found.rows:
        late = () if row.result_p99_ms is None else (f"{row.result_p99_ms:.2f}",)
        figures = f"{row.step_p50_ms:.2f}", f"{row.step_p99_ms:.2f}", *late
        table.add_row(str(row.streams), *figures, "yes" if row.real_time else "no")
    return table
