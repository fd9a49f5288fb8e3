"""Start-up time and memory: `--help`, the first window, resident memory with one stream."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from streamer.bench.figures import Criterion
from streamer.bench.program import Program
from streamer.errors import StreamerError

HELP_S = 0.3
FIRST_WINDOW_S = 5.0
RSS_MB = 600.0
HELPS = 9  # runs of --help
STARTS = 3
MEMORY_S = 15.0  # the window is full after 3 s, and the allocator has seen every shape long before 15 s
START_S = 60.0

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StartReport:
    """Every time measured, in order, and the memory."""

    help_s: tuple[float, ...]
    first_window_s: tuple[float, ...]  # from the start of the process, caches warm
    rss_mb: float  # the largest that was seen
    criteria: tuple[Criterion, ...]


def measure_start(on_step: OnStep = lambda step: None) -> StartReport:
    """Start the real program repeatedly, with default settings and the bundled recording, on the CPU.

    The first start of each kind is not counted: it warms the file cache.

    Raises:
        StreamerError: the program does not start.
    """
    on_step("help")
    help_s = [_help_s() for _ in range(1 + HELPS)][1:]
    first_window_s, rss_mb = [], 0.0
    for number in range(1 + STARTS):
        on_step(f"start {number} of {STARTS}" if number else "start, to warm the file cache")
        with Program("demo", "--device", "cpu") as program:
            first_window_s.append(program.first("window", START_S).monotonic_s - program.began_s)
            if number == STARTS:
                on_step("memory")
                rss_mb = _peak_rss_mb(program, MEMORY_S)
    return report(help_s, first_window_s[1:], rss_mb)


def report(help_s: list[float], first_window_s: list[float], rss_mb: float) -> StartReport:
    """Return the figures with their verdict."""
    help_median_s, window_median_s = median(help_s), median(first_window_s)
    return StartReport(
        tuple(help_s),
        tuple(first_window_s),
        rss_mb,
        (
            Criterion("`streamer --help`, median", f"< {HELP_S:g} s", f"{help_median_s:.2f} s", help_median_s < HELP_S),
            Criterion(
                "start → first (warming) window, median",
                f"< {FIRST_WINDOW_S:g} s", f"{window_median_s:.2f} s", window_median_s < FIRST_WINDOW_S,
            ),
            Criterion(
                "resident memory, one stream on the CPU", f"< {RSS_MB:g} MB", f"{rss_mb:.0f} MB", rss_mb < RSS_MB
            ),
        ),
    )  # fmt: skip


def _help_s() -> float:
    began_s = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "streamer", "--help"], capture_output=True, env=dict(os.environ))
    if done.returncode != 0:
        raise StreamerError("`streamer --help` fails here; reinstall the program.")
    return time.monotonic() - began_s


def _peak_rss_mb(program: Program, seconds: float) -> float:
    """Return the largest resident size seen while windows arrive."""
    peak, deadline = 0.0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            program.line(0.5)
        except EOFError:
            raise program.failure() from None
        peak = max(peak, program.usage().rss_mb)
    return peak
