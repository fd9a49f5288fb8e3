"""The bookkeeping of a soak: derive lost audio and clock errors from the windows, and judge them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from streamer.bench.figures import Criterion, percentile
from streamer.bench.program import Usage
from streamer.constants import SAMPLE_RATE

SoakKind = Literal["live", "live, all cores loaded", "fast"]

GROWTH_MB = 20.0  # of resident memory, beyond the first row
TIME_MS = 50.0  # of `time`, against either clock
SETTLE_S = (
    5.0  # of audio: by then the capture clock has seen an early callback, and sound servers have filled their buffers
)


@dataclass(frozen=True, slots=True)
class Row:
    """The soak up to one moment; counters run from the beginning, the time figures over this row's windows."""

    audio_s: float  # of the newest window
    wall_s: float  # since the first window
    rss_mb: float
    open_files: int
    threads: int
    cpu_percent: float  # of one core, over this row
    windows: int
    inexact: int  # windows whose end_s is not a whole sample position / 24,000
    disordered: int  # windows whose seq, end_s or time does not follow on the one before
    gaps: int  # times that the audio was broken without a sample being dropped: device lost, or restarted
    overflow_events: int
    dropped_samples: int
    skipped_windows: int
    uncounted_samples: int  # missing between windows, but in none of the program's own counters
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    time_early_ms: float | None  # `time` against the sample clock, relative to the first row: the least …
    time_late_ms: float | None  # … and the most
    time_to_wall_ms: float | None  # arrival - latency_ms - `time`: p5, since observing it can only make it late
    sample_clock_ppm: float | None  # samples against the machine's clock since the first row; above 0 they are ahead
    real_time_factor: float | None


@dataclass
class Audit:
    """Collects every window and health event of one stream, as parsed JSON."""

    hop_samples: int
    windows: int = 0
    inexact: int = 0
    disordered: int = 0
    gaps: int = 0
    dropped: int = 0
    health: dict[str, Any] = field(default_factory=dict)  # the newest
    uncounted: int = 0
    _jumped: int = 0  # samples between windows beyond one hop
    _newest: dict[str, Any] | None = None
    _newest_time: float = -math.inf
    _first_arrival_s: float = 0.0
    _arrived_s: float = 0.0  # the newest window's
    _base: tuple[float, float] | None = None  # the first row's end in audio, and its median of `time` - end_s
    _settled_s: float = SETTLE_S  # end_s from which `time` is judged
    _offsets_s: list[float] = field(default_factory=list)  # `time` - end_s, of this row
    _latencies_ms: list[float] = field(default_factory=list)
    _to_wall_ms: list[float] = field(default_factory=list)

    @property
    def position(self) -> int:
        """The sample position at the end of the newest window."""
        return 0 if self._newest is None else round(self._newest["end_s"] * SAMPLE_RATE)

    def record_window(self, window: dict[str, Any], arrived_s: float) -> None:
        """Take the next window, which arrived at `arrived_s` (seconds since the epoch)."""
        position, before = round(window["end_s"] * SAMPLE_RATE), self._newest
        self.inexact += position / SAMPLE_RATE != window["end_s"]
        time_s = datetime.fromisoformat(window["time"]).timestamp()
        if before is None:
            self._first_arrival_s = arrived_s
        else:
            follows = window["seq"] == before["seq"] + 1 and position > self.position and time_s >= self._newest_time
            self.disordered += not follows
            if window["warming"] and not before["warming"] and not window["dropped_samples"]:
                self._note_gap(window)
        self._jumped += position - self.position - self.hop_samples
        self.dropped += window["dropped_samples"]
        self.windows += 1
        self._newest, self._newest_time, self._arrived_s = window, time_s, arrived_s
        if window["end_s"] >= self._settled_s:
            self._offsets_s.append(time_s - window["end_s"])
        if window["latency_ms"] is not None:
            self._latencies_ms.append(window["latency_ms"])
            self._to_wall_ms.append(1000 * (arrived_s - time_s) - window["latency_ms"])

    def _note_gap(self, window: dict[str, Any]) -> None:
        """Restart the clocks after a gap: audio after the last whole hop is in no window, the pause has no position."""
        self.gaps += 1
        left_over = round(window["start_s"] * SAMPLE_RATE) - self.position
        if 0 <= left_over < self.hop_samples:
            self._jumped -= left_over
        self._base = None
        self._offsets_s.clear()
        self._settled_s = window["end_s"] + SETTLE_S

    def record_health(self, health: dict[str, Any]) -> None:
        """Take the next health event; its counters must account for all samples that are missing between windows."""
        self.health = health
        missing = self._jumped - health["dropped_samples"] - health["skipped_windows"] * self.hop_samples
        self.uncounted = max(self.uncounted, abs(missing))

    def row(self, usage: Usage, cpu_percent: float) -> Row:
        """Return the figures up to now, and begin the next row."""
        offsets_s, self._offsets_s = self._offsets_s, []
        latencies_ms, self._latencies_ms = self._latencies_ms, []
        to_wall_ms, self._to_wall_ms = self._to_wall_ms, []
        audio_s = self.position / SAMPLE_RATE
        if self._base is None and offsets_s:
            self._base = (audio_s, percentile(offsets_s, 0.5))
        since_s, base_s = self._base or (audio_s, 0.0)
        return Row(
            audio_s=audio_s,
            wall_s=self._arrived_s - self._first_arrival_s,
            rss_mb=usage.rss_mb,
            open_files=usage.open_files,
            threads=usage.threads,
            cpu_percent=cpu_percent,
            windows=self.windows,
            inexact=self.inexact,
            disordered=self.disordered,
            gaps=self.gaps,
            overflow_events=self.health.get("overflow_events", 0),
            dropped_samples=self.dropped,
            skipped_windows=self.health.get("skipped_windows", 0),
            uncounted_samples=self.uncounted,
            latency_p50_ms=percentile(latencies_ms, 0.50) if latencies_ms else None,
            latency_p95_ms=percentile(latencies_ms, 0.95) if latencies_ms else None,
            time_early_ms=1000 * (min(offsets_s) - base_s) if offsets_s else None,
            time_late_ms=1000 * (max(offsets_s) - base_s) if offsets_s else None,
            time_to_wall_ms=percentile(to_wall_ms, 0.05) if to_wall_ms else None,
            sample_clock_ppm=_ahead_ppm(offsets_s, base_s, audio_s - since_s) if latencies_ms else None,
            real_time_factor=self.health.get("real_time_factor"),
        )


def _ahead_ppm(offsets_s: Sequence[float], base_s: float, over_s: float) -> float | None:
    """Return how much faster samples arrived than seconds passed over `over_s` of audio; None without any."""
    return -1e6 * (percentile(offsets_s, 0.5) - base_s) / over_s if offsets_s and over_s > 0 else None


def judge(rows: Sequence[Row], kind: SoakKind) -> list[Criterion]:
    """Judge the rows so far. Only live audio has clocks to judge.

    Arrival times are taken by this process: under load they are too late to be compared with the wall clock.
    """
    first, last = rows[0], rows[-1]
    growth_mb = max(row.rss_mb for row in rows) - first.rss_mb
    criteria = [
        Criterion(
            "memory beyond the first minute", f"≤ {GROWTH_MB:g} MB", f"{growth_mb:+.1f} MB", growth_mb <= GROWTH_MB
        ),
        _steady("file descriptors", [row.open_files for row in rows]),
        _steady("threads", [row.threads for row in rows]),
        none_of("windows whose end_s is not position / 24,000", last.inexact),
        none_of("windows out of order", last.disordered),
        none_of("samples lost and not counted", last.uncounted_samples),
    ]
    if kind != "fast":
        criteria += [
            none_of("device overflows", last.overflow_events),
            none_of("gaps", last.gaps),
            _within("`time` against the sample clock", [x for r in rows for x in (r.time_early_ms, r.time_late_ms)]),
        ]
    if kind == "live":
        criteria.append(_within("`time` against the wall clock", [row.time_to_wall_ms for row in rows]))
    return criteria


def none_of(name: str, count: int) -> Criterion:
    """Return the criterion that `count` is 0."""
    return Criterion(name, "0", f"{count:,}", count == 0)


def _steady(name: str, counts: Sequence[int]) -> Criterion:
    return Criterion(f"{name} beyond the first minute", "+0", f"{max(counts) - counts[0]:+d}", max(counts) <= counts[0])


def _within(name: str, errors_ms: Sequence[float | None]) -> Criterion:
    """Return the criterion that all errors are within TIME_MS; met while there are none."""
    worst = max((error for error in errors_ms if error is not None), key=abs, default=None)
    measured = "not yet" if worst is None else f"{worst:+.1f} ms"
    return Criterion(name, f"± {TIME_MS:g} ms", measured, worst is None or abs(worst) <= TIME_MS)
