"""The measurement's bookkeeping. How fast anything is, no test says."""

import json

import pytest
import torch

from streamer.bench import steps as bench


@pytest.fixture(scope="module")
def report():
    return bench.measure(repeats=1, chunk_frames=(1, 6), streams=(1, 2), window_s=0.2)


def test_there_is_a_row_for_every_chunk_length_and_number_of_streams(report):
    assert [(row.streams, round(row.chunk_ms, 1)) for row in report.rows] == [(1, 13.3), (1, 80), (2, 13.3), (2, 80)]


def test_the_figures_of_a_row_agree(report):
    for row in report.rows:
        assert 0 < row.step_median_ms <= row.step_p95_ms
        assert row.real_time_factor == pytest.approx(row.step_median_ms / row.chunk_ms)
        assert row.reencode_real_time_factor == pytest.approx(row.reencode_median_ms / row.chunk_ms)
        assert row.ratio == pytest.approx(row.reencode_median_ms / row.step_median_ms)


def test_rows_of_as_many_streams_share_the_window(report):
    one, same, two, _ = report.rows
    assert one.reencode_median_ms == same.reencode_median_ms != two.reencode_median_ms


def test_the_report_is_plain_json(report):
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["threads"] == 1
    assert plain["steps"] == 10
    assert plain["rows"][3]["streams"] == 2
    assert plain["torch_version"] == torch.__version__


def test_the_number_of_threads_is_set_for_the_measurement_only(monkeypatch):
    during = []
    monkeypatch.setattr(bench, "_measure_batch", lambda *_: during.append(torch.get_num_threads()) or [])
    before = torch.get_num_threads()
    bench.measure(threads=before + 1, streams=(1,))
    assert during == [before + 1]
    assert torch.get_num_threads() == before


def test_threads_are_set_back_when_the_measurement_is_broken_off(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "_measure_batch", interrupt)
    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        bench.measure(threads=before + 1)
    assert torch.get_num_threads() == before


def test_progress_runs_from_nothing_to_everything():
    told = []
    bench.measure(repeats=2, chunk_frames=(1,), streams=(1, 2), window_s=0.1, on_progress=lambda *at: told.append(at))
    assert told == [(0, 4), (1, 4), (2, 4), (2, 4), (3, 4), (4, 4)]


def test_p95_is_the_nearest_rank():
    row = bench._row(6, 1, step_ms=[float(n) for n in range(20, 0, -1)], window_ms=[100.0])
    assert row.step_p95_ms == 19
    assert row.step_median_ms == 10.5
