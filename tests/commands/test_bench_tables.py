"""What `streamer bench` prints of steps and streams."""

import json
from dataclasses import asdict

import pytest

from streamer.bench.capacity import Capacity, CapacityRow
from streamer.bench.steps import BenchReport, BenchRow
from streamer.commands import bench_encoder
from streamer.errors import UsageError

ROW = BenchRow(13.3, 1, "streamer float32", 2.51, 3.04, 0.19, 1.0)
LONG_ROW = BenchRow(1000.0, 16, "encodec, whole window again", 12_345.67, 12_999.99, 12.345, 104.25)
REPORT = BenchReport("2.13", "x86_64", 1, 3.0, 30, 71.6, (ROW, LONG_ROW), ("onnxruntime is not timed: pip install it",))
CAPACITY = Capacity("cpu", "int8", 1, 240.0, 71.6, 17, False, (CapacityRow(17, 100, 200.04, 230.1, real_time=True),))


def test_a_table_of_steps_ends_with_those_that_are_missing(monkeypatch, capsys):
    monkeypatch.setattr(bench_encoder, "measure_steps", lambda *_: REPORT)
    bench_encoder.run_steps(threads=1, repeats=1, as_json=False)
    printed = capsys.readouterr().out
    assert "streamer float32" in printed
    assert "72 GFLOP/s" in " ".join(printed.split())
    assert "encodec, whole window again" in printed
    assert "13000.0" in printed
    assert "…" not in printed
    assert printed.endswith("onnxruntime is not timed: pip install it\n")


def test_steps_as_json_are_the_report(monkeypatch, capsys):
    monkeypatch.setattr(bench_encoder, "measure_steps", lambda *_: REPORT)
    bench_encoder.run_steps(threads=1, repeats=1, as_json=True)
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(asdict(REPORT)))


def test_a_table_of_streams_says_the_largest_number(monkeypatch, capsys):
    monkeypatch.setattr(bench_encoder, "find_capacity", lambda *_: CAPACITY)
    bench_encoder.run_streams(hop_s=0.24, device="cpu", precision="int8", threads=1, as_json=False)
    printed = " ".join(capsys.readouterr().out.split())
    assert "17 streams in real time: cpu, int8" in printed
    assert "230.10" in printed


def test_a_table_of_streams_with_speech_says_how_late_results_come(monkeypatch, capsys):
    row = CapacityRow(60, 100, 150.0, 290.5, real_time=True, result_p99_ms=305.25)
    found = Capacity("cpu", "float32", 1, 240.0, 71.6, 60, False, (row,), speech=0.2)
    monkeypatch.setattr(bench_encoder, "find_capacity", lambda *_: found)
    bench_encoder.run_streams(hop_s=0.24, device="cpu", precision="float32", threads=1, speech=0.2, as_json=False)
    printed = " ".join(capsys.readouterr().out.split())
    assert "60 streams in real time: cpu, float32" in printed
    assert "20 % of the time" in printed
    assert "305.25" in printed


def test_streams_as_json_are_the_capacity(monkeypatch, capsys):
    monkeypatch.setattr(bench_encoder, "find_capacity", lambda *_: CAPACITY)
    bench_encoder.run_streams(hop_s=0.24, device="cpu", precision="int8", threads=1, as_json=True)
    assert json.loads(capsys.readouterr().out)["largest"] == 17


def test_nothing_to_measure_is_refused():
    with pytest.raises(UsageError, match="at least 1"):
        bench_encoder.run_steps(threads=1, repeats=0, as_json=False)
    with pytest.raises(UsageError, match="at least 1"):
        bench_encoder.run_streams(hop_s=0.24, device="cpu", precision="float32", threads=0, as_json=False)
