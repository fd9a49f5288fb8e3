"""Latency and soak with real parts, for a few seconds each: PulseAudio, PortAudio, Mosquitto, the real program."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from streamer.bench import latency_rig, soak
from streamer.bench.figures import all_met
from streamer.bench.latency import STAGES
from streamer.bench.soak_audit import Row
from tests.support.real_audio import require_parts

real = pytest.mark.real
HOP_MINUTES = 0.24 / 60


@real
@pytest.mark.slow
def test_clicks_are_followed_from_the_microphone_to_the_subscriber(monkeypatch: pytest.MonkeyPatch) -> None:
    require_parts()
    for wait in ("LEAD_S", "TAIL_S"):
        monkeypatch.setattr(latency_rig, wait, 0.8)
    played: list[tuple[int, int]] = []
    found = latency_rig.measure_latency(4, lambda *at: played.append(at))
    assert played == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (found.clicks, found.windows >= 6) == (4, True)
    assert all(0 <= found.stages[name].p50 < 1_000 for name in STAGES)
    assert found.stages["encode"].p50 > 0
    assert 0 < found.before["device"].p50 < 1_000
    assert found.promised.p50 < found.from_click.p50
    json.dumps(asdict(found), allow_nan=False)


@real
@pytest.mark.slow
def test_a_live_soak_captures_the_microphone_and_writes_rows(tmp_path: Path) -> None:
    require_parts()
    rows: list[Row] = []
    found = soak.soak_live(0.03, tmp_path / "rows.jsonl", rows.append)
    assert len(found.rows) == len(rows) == 4
    assert rows[-1].windows > 3
    faults = {criterion.name for criterion in found.criteria if not criterion.met}
    exact = {"windows whose end_s is not position / 24,000", "windows out of order", "samples lost and not counted"}
    assert faults & exact == set(), "the rest a busy machine may spoil in so short a time"


@pytest.mark.slow
def test_a_fast_soak_processes_every_sample_and_its_file_holds_the_verdict(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    found = soak.soak_fast(30 * HOP_MINUTES, file, lambda row: None)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == len(found.rows) + 1
    assert all(line["kind"] == "fast" for line in lines)
    assert lines[-1]["met"] is all_met(found.criteria)
    measured = {criterion.name: criterion.measured for criterion in found.criteria}
    assert measured["samples fed and not processed"] == measured["samples lost and not counted"] == "0"
