"""The audit of a soak, from windows and health events alone."""

import json
from dataclasses import replace
from typing import Any

import pytest

from streamer.bench.program import Usage
from streamer.bench.soak_audit import Audit, Row, SoakKind, judge
from streamer.events import Health, Window, to_json

HOP_SAMPLES = 18 * 320
RATE = 24_000
BEGAN_S = 1_800_000_000.0
USAGE = Usage(rss_mb=440.0, open_files=14, threads=7, cpu_s=1.0)


class Stream:
    """Passes windows to an audit, through the JSON that the program writes."""

    def __init__(self) -> None:
        self.audit = Audit(HOP_SAMPLES)
        self.seq = 0
        self.position = 0

    def window(
        self, *, hops: int = 1, lost: int = 0, late_ms: float = 0.0, warming: bool = False, **changed: Any
    ) -> None:
        """Record a window that ends `hops` hops and `lost` counted samples further on, created 40 ms after its end."""
        self.position += hops * HOP_SAMPLES + lost
        end_s = self.position / RATE
        time_s = BEGAN_S + end_s + late_ms / 1000
        event = Window(
            stream="mic", seq=self.seq, time=time_s, start_s=max(0.0, end_s - 3), end_s=end_s, label=None,
            confidence=None, probs=None, speech=0.0, rms_dbfs=-40.0, peak_dbfs=-30.0, latency_ms=40.0,
            dropped_samples=lost, warming=warming,
        )  # fmt: skip
        self.audit.record_window(json.loads(to_json(replace(event, **changed))), arrived_s=time_s + 0.042)
        self.seq += 1

    def health(self, *, dropped: int = 0, skipped: int = 0, overflows: int = 0) -> None:
        event = Health("mic", BEGAN_S, "live", "vmic", None, 0.2, None, None, 0.0, overflows, dropped, skipped)
        self.audit.record_health(json.loads(to_json(event)))

    def minute(self, **changed: Any) -> Row:
        for _ in range(250):
            self.window(**changed)
        self.health()
        return self.audit.row(USAGE, 20.0)


def failed(*rows: Row, kind: SoakKind = "live") -> list[str]:
    return [criterion.name for criterion in judge(rows, kind) if not criterion.met]


def test_a_healthy_stream_meets_every_criterion() -> None:
    stream = Stream()
    rows = [stream.minute() for _ in range(3)]
    assert failed(*rows) == []
    assert [row.audio_s for row in rows] == [60.0, 120.0, 180.0]
    assert [row.windows for row in rows] == [250, 500, 750]
    assert rows[-1].wall_s == pytest.approx(180.0 - 0.24, abs=0.01)
    assert rows[-1].latency_p95_ms == 40.0
    assert rows[-1].time_to_wall_ms == pytest.approx(2.0, abs=0.6), "the wire has milliseconds"
    assert rows[-1].sample_clock_ppm == pytest.approx(0.0, abs=20.0)


def test_an_end_that_is_no_sample_position_is_found() -> None:
    stream = Stream()
    stream.window()
    stream.window(end_s=0.48001)
    assert failed(stream.audit.row(USAGE, 0.0)) == ["windows whose end_s is not position / 24,000"]


@pytest.mark.parametrize("wrong", [{"seq": 7}, {"end_s": 0.24}, {"time": BEGAN_S - 1}], ids=["seq", "end_s", "time"])
def test_a_window_that_does_not_follow_on_the_one_before_is_found(wrong: dict[str, Any]) -> None:
    stream = Stream()
    stream.window()
    stream.window(**wrong)
    assert failed(stream.audit.row(USAGE, 0.0)) == ["windows out of order"]


def test_before_the_clocks_have_settled_time_is_not_judged() -> None:
    stream = Stream()
    stream.window()
    stream.window(late_ms=400.0)
    assert failed(stream.audit.row(USAGE, 0.0)) == []


def test_counted_drops_and_skips_are_no_fault() -> None:
    stream = Stream()
    for _ in range(30):
        stream.window()
    stream.window(hops=4)
    stream.window(lost=777, warming=True)
    stream.health(dropped=777, skipped=3)
    row = stream.audit.row(USAGE, 0.0)
    assert (row.dropped_samples, row.skipped_windows, row.uncounted_samples, row.gaps) == (777, 3, 0, 0)
    assert failed(row) == []


@pytest.mark.parametrize(("hops", "lost"), [(2, 0), (1, 13)], ids=["a window", "thirteen samples"])
def test_uncounted_losses_are_found(hops: int, lost: int) -> None:
    stream = Stream()
    stream.window()
    stream.window(hops=hops, lost=lost)
    stream.health()
    assert failed(stream.audit.row(USAGE, 0.0)) == ["samples lost and not counted"]


def test_a_break_without_a_drop_is_a_gap_and_the_audio_it_cuts_off_is_not_missing() -> None:
    stream = Stream()
    first = stream.minute()
    stream.position += 1_000  # captured before the device went away: less than a hop, so no window
    stream.window(late_ms=4_000.0, warming=True, start_s=stream.position / RATE)
    row = stream.minute(late_ms=4_000.0)
    assert (row.gaps, row.uncounted_samples) == (1, 0)
    assert failed(first, row) == ["gaps"], "no position tells how long the device was away: time begins anew"


def test_overflows_of_the_device_are_found() -> None:
    stream = Stream()
    stream.window()
    stream.health(overflows=1)
    assert failed(stream.audit.row(USAGE, 0.0)) == ["device overflows"]


def test_time_that_leaves_the_sample_clock_is_found_in_its_minute_and_in_all_later_ones() -> None:
    stream = Stream()
    first = stream.minute()
    stream.window(late_ms=60.0)
    second = stream.minute(late_ms=60.0)
    assert second.time_late_ms == pytest.approx(60.0, abs=1.0)
    assert failed(first) == []
    assert failed(first, second) == ["`time` against the sample clock"]
    third = stream.minute(late_ms=60.0)
    assert failed(first, second, third) == ["`time` against the sample clock"]
    assert third.sample_clock_ppm == pytest.approx(-60e3 / 120, rel=0.02), "60 ms behind after 120 s"


def test_time_is_compared_with_the_wall_clock_only_without_load() -> None:
    row = replace(Stream().minute(), time_to_wall_ms=68.0)
    assert failed(row) == ["`time` against the wall clock"]
    assert failed(row, kind="live, all cores loaded") == []


def test_a_fast_soak_has_no_clock_to_judge() -> None:
    stream = Stream()
    stream.window(latency_ms=None)
    row = stream.audit.row(USAGE, 0.0)
    assert (row.latency_p95_ms, row.time_to_wall_ms, row.sample_clock_ppm) == (None, None, None)
    assert failed(row, kind="fast") == []


@pytest.mark.parametrize(
    ("usage", "fault"),
    [
        (replace(USAGE, rss_mb=460.1), "memory beyond the first minute"),
        (replace(USAGE, open_files=15), "file descriptors beyond the first minute"),
        (replace(USAGE, threads=8), "threads beyond the first minute"),
        (replace(USAGE, rss_mb=459.9, open_files=3, threads=2), None),
    ],
)
def test_growth_is_judged_from_the_first_row_on(usage: Usage, fault: str | None) -> None:
    stream = Stream()
    stream.window()
    rows = [stream.audit.row(USAGE, 0.0), stream.audit.row(usage, 0.0), stream.audit.row(USAGE, 0.0)]
    assert failed(*rows, kind="fast") == ([fault] if fault else [])
