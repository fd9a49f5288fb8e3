"""`streamer bench --latency`, `--soak` and `--start`: measure the whole program against its criteria."""

import json
import os
import platform
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from rich.progress import Progress, TextColumn

from streamer.bench.figures import all_met, verdict_table
from streamer.bench.latency import LatencyReport
from streamer.bench.latency_rig import measure_latency
from streamer.bench.soak import SoakReport, soak_fast, soak_live
from streamer.bench.soak_audit import Row
from streamer.bench.start import measure_start
from streamer.commands.screen import Screen
from streamer.commands.stderr import notice
from streamer.errors import UsageError
from streamer.markdown import markdown_table

LEAST_MINUTES = 0.2  # four rows of three seconds


def run_soak(minutes: float, out: Path, *, fast: bool, load: bool, as_json: bool) -> bool:
    """Run the soak, print the verdict, and return whether every criterion is met.

    Raises:
        UsageError: the minutes are too few, the two kinds of soak are mixed, or `out` cannot be written.
    """
    if not minutes >= LEAST_MINUTES:
        raise UsageError(f"--soak {minutes:g}: give the minutes, at least {LEAST_MINUTES:g}.")
    if fast and load:
        raise UsageError("--fast keeps the processor busy by itself; leave --load out.")
    try:
        out.open("a").close()
    except OSError as error:
        raise UsageError(f"--out {str(out)!r} cannot be written: {error.strerror}; name another file.") from None

    def report_row(row: Row) -> None:
        done = f"{row.audio_s / 60:.1f} of {minutes:g} minutes, {row.rss_mb:.0f} MB"
        notice(f"{done}, {row.overflow_events} overflows, {row.dropped_samples} samples dropped")

    _end_in_order()
    report = soak_fast(minutes, out, report_row) if fast else soak_live(minutes, out, report_row, load=load)
    print(json.dumps(asdict(report), indent=2) if as_json else _soak_text(report))
    return all_met(report.criteria)


def _soak_text(report: SoakReport) -> str:
    last = report.rows[-1]
    figures = {
        "audio processed": f"{last.audio_s / 60:.1f} min in {last.wall_s / 60:.1f} min",
        "windows": f"{last.windows:,}",
        "resident memory": f"{report.rows[0].rss_mb:.0f} MB at the start, {last.rss_mb:.0f} MB at the end",
        "file descriptors, threads": f"{last.open_files}, {last.threads}",
        "CPU, of one core": f"{sum(row.cpu_percent for row in report.rows) / len(report.rows):.0f} %",
        "device overflows": f"{last.overflow_events:,}",
        "samples dropped and counted": f"{last.dropped_samples:,}",
        "windows skipped and counted": f"{last.skipped_windows:,}",
    }
    if last.sample_clock_ppm is not None:
        figures["sample clock against the machine's"] = f"{last.sample_clock_ppm:+.1f} ppm"
    return "\n\n".join(
        (
            f"Soak, {report.kind}; {machine()}",
            markdown_table(("figure", "value"), figures.items()),
            verdict_table(report.criteria),
        )
    )


def _end_in_order() -> None:
    """Let SIGTERM unwind the stack, as Ctrl-C does, so that started servers and monitors are stopped."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _processor() -> str:
    """Return the processor's name; its architecture where the system does not say more."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine() -> str:
    """Describe the machine that the figures were measured on."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def run_latency(clicks: int, *, as_json: bool) -> bool:
    """Play clicks, print the latency of each stage, and return whether every criterion is met.

    Raises:
        UsageError: `clicks` is less than 1.
    """
    if clicks < 1:
        raise UsageError(f"--clicks {clicks}: give at least 1.")
    _end_in_order()
    with Progress(console=Screen(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=clicks)
        report = measure_latency(
            clicks, lambda done, total: progress.update(task, description="clicking", completed=done, total=total)
        )
    print(json.dumps(asdict(report), indent=2) if as_json else _latency_text(report))
    return all_met(report.criteria)


def _latency_text(report: LatencyReport) -> str:
    c = report.conditions
    stated = "" if c.stated_device_latency_ms is None else f" (PortAudio states {c.stated_device_latency_ms:.0f} ms)"
    title = (
        f"Latency in ms over {report.windows} windows and {report.clicks} clicks: {c.microphone}, "
        f"blocks of {c.block_ms:g} ms{stated}, a hop every {c.hop_ms:g} ms, "
        f"model on {c.torch_device}, {c.broker}; {machine()}"
    )
    spans = {
        **{f"before: {name}": span for name, span in report.before.items()},
        **report.stages,
        "**callback that completes a hop → message**": report.promised,
        "last sample of the window → message": report.from_capture,
        "click played → message": report.from_click,
    }
    rows = [(name, *(f"{value:.1f}" for value in (span.p50, span.p95, span.p99))) for name, span in spans.items()]
    return "\n\n".join((title, markdown_table(("stage", "p50", "p95", "p99"), rows), verdict_table(report.criteria)))


def run_start(*, as_json: bool) -> bool:
    """Start the program repeatedly, print its start-up times, and return whether every criterion is met."""
    _end_in_order()
    with Progress(TextColumn("{task.description}"), console=Screen(stderr=True), transient=True) as progress:
        task = progress.add_task("")
        report = measure_start(lambda step: progress.update(task, description=step))
    if as_json:
        print(json.dumps(asdict(report), indent=2))
    else:
        print(f"Start; {machine()}\n\n{verdict_table(report.criteria)}")
    return all_met(report.criteria)
