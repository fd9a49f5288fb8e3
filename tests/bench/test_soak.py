"""The parts of a soak around the real program: what it feeds, which events it audits, what it writes."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.bench import soak
from streamer.bench.program import Line, Usage
from streamer.bench.soak_audit import Audit, Row
from streamer.constants import SAMPLE_RATE
from streamer.errors import StreamerError
from streamer.events import Health, Window, to_json

HOP_SAMPLES = 18 * 320


def window(stream: str, seq: int = 0) -> dict[str, Any]:
    end_s = (seq + 1) * HOP_SAMPLES / SAMPLE_RATE
    event = Window(
        stream=stream, seq=seq, time=1_800_000_000 + end_s, start_s=0.0, end_s=end_s, label=None, confidence=None,
        probs=None, speech=0.0, rms_dbfs=-40.0, peak_dbfs=-30.0, latency_ms=None, dropped_samples=0, warming=True,
    )  # fmt: skip
    event_json: dict[str, Any] = json.loads(to_json(event))
    return event_json


class FakeProgram:
    """Yields the given events, then None (silence) or the end of its output."""

    began_s = 0.0

    def __init__(self, *events: dict[str, Any], hangs: bool = False) -> None:
        self._events = list(events)
        self._hangs = hangs

    def line(self, within_s: float) -> Line | None:
        if self._events:
            return Line(self._events.pop(0), 1.0, 1_800_000_001.0)
        if self._hangs:
            return None
        raise EOFError

    def usage(self) -> Usage:
        return Usage(rss_mb=440.0, open_files=14, threads=7, cpu_s=1.0)

    def last_message(self) -> str:
        return "its last message: device lost"


def log_of(program: FakeProgram, file: Path, rows: list[Row]) -> soak._SoakLog:
    return soak._SoakLog(program, Audit(HOP_SAMPLES), file, "fast", rows.append)  # type: ignore[arg-type]


@pytest.mark.parametrize("samples", [1, SAMPLE_RATE, 10 * SAMPLE_RATE + 7])
def test_speech_has_the_requested_length_even_beyond_the_recording(samples: int) -> None:
    assert sum(map(len, soak._cut(soak._endless_speech(), samples))) == 2 * samples


def test_speech_and_silence_take_turns() -> None:
    blocks = soak._cut(soak._speech_and_silence(), 300 * SAMPLE_RATE)
    audio = np.frombuffer(b"".join(blocks), dtype="<i2").reshape(300, SAMPLE_RATE) / 32_768
    quiet = np.sqrt((audio**2).mean(axis=1)) < 2 * soak.ROOM_RMS  # each second
    assert 0.5 < quiet.mean() < 0.95
    assert np.count_nonzero(np.diff(quiet)) >= 4


def test_speech_repeats_the_recording_endlessly() -> None:
    first = next(soak._endless_speech())
    assert first in list(islice(soak._endless_speech(), 1, 200))


@pytest.mark.parametrize(("minutes", "row_s"), [(0.2, 3.0), (4.0, 60.0), (600.0, 60.0)])
def test_a_row_is_a_minute_or_a_quarter_of_a_short_soak(minutes: float, row_s: float) -> None:
    assert soak._row_s(minutes) == row_s


def test_only_events_of_the_audited_stream_are_audited(tmp_path: Path) -> None:
    health = json.loads(to_json(Health("mic", 1.0, "live", "vmic", None, 0.2, None, None, 0.0, 3, 0, 0)))
    log = log_of(FakeProgram(window("load-0"), window("mic"), health, {"type": "info"}), tmp_path / "rows", [])
    while soak._take_event(log):
        pass
    assert (log.audit.windows, log.audit.position, log.audit.health["overflow_events"]) == (1, HOP_SAMPLES, 3)


def test_a_monitor_that_hangs_is_an_error_with_its_last_message(tmp_path: Path) -> None:
    log = log_of(FakeProgram(hangs=True), tmp_path / "rows", [])
    with pytest.raises(StreamerError, match="no event for 300 s; its last message: device lost"):
        soak._take_event(log)


def test_rows_and_the_verdict_are_appended_to_the_file(tmp_path: Path) -> None:
    rows: list[Row] = []
    log = log_of(FakeProgram(window("stdin")), tmp_path / "rows", rows)
    soak._take_event(log)
    log.write()
    report = log.close(fed_samples=HOP_SAMPLES + 1)
    row, verdict = (json.loads(line) for line in (tmp_path / "rows").read_text().splitlines())
    assert (row["kind"], row["windows"], row["failed"]) == ("fast", 1, [])
    assert [criterion.name for criterion in report.criteria if not criterion.met] == ["samples fed and not processed"]
    assert verdict["met"] is False
    assert list(report.rows) == rows
