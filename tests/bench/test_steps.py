"""The bookkeeping of the step times; no test depends on how fast anything is."""

import json
from dataclasses import asdict
from itertools import product

import pytest
import torch

from streamer.bench import steps
from streamer.bench.engines import Engines, StepEngine, WindowEngine
from streamer.bench.steps import StepPlan, measure_steps

NO_OTHERS = Engines((), (), ())


def slow(*_):
    return lambda: torch.randn(300, 300) @ torch.randn(300, 300)


@pytest.fixture(scope="module")
def report():
    engines = Engines(
        (StepEngine("stepping", slow),), (WindowEngine("re-encoding", slow),), ("other is not timed: buy it",)
    )
    plan = StepPlan(rounds=1, chunk_frames=(1, 6), streams=(1, 2), window_s=0.2, precisions=("float32",))
    return measure_steps(plan, engines=engines)


def test_every_number_of_streams_chunk_and_engine_has_a_row(report):
    engines = ("streamer float32", "stepping", "re-encoding")
    rows = [(row.streams, round(row.chunk_ms, 1), row.engine) for row in report.rows]
    assert rows == list(product((1, 2), (13.3, 80), engines))


def test_the_figures_of_a_row_agree(report):
    for row in report.rows:
        ours = next(r for r in report.rows if (r.streams, r.chunk_ms) == (row.streams, row.chunk_ms))
        assert 0 < row.median_ms <= row.p95_ms
        assert row.real_time_factor == pytest.approx(row.median_ms / row.chunk_ms)
        assert row.ratio == pytest.approx(row.median_ms / ours.median_ms)


def test_the_time_of_a_window_does_not_depend_on_the_chunk(report):
    one, same, two, _ = [row.median_ms for row in report.rows if row.engine == "re-encoding"]
    assert one == same != two


def test_the_report_is_plain_json(report):
    plain = json.loads(json.dumps(asdict(report), allow_nan=False))
    assert plain["threads"] == 1
    assert plain["steps"] == 10
    assert plain["gflops"] > 0
    assert plain["rows"][0]["engine"] == "streamer float32"
    assert plain["missing"] == ["other is not timed: buy it"]
    assert plain["torch_version"] == torch.__version__


def test_float32_is_always_timed_beside_a_reduced_precision(monkeypatch):
    asked = []
    monkeypatch.setattr(
        steps, "_start_streams", lambda encoder, precision, batch_size: asked.append(precision) or _Still()
    )
    report = measure_steps(StepPlan(rounds=1, chunk_frames=(1,), streams=(1,), precisions=("int8",)), engines=NO_OTHERS)
    assert asked == ["float32", "int8"]
    assert [row.engine for row in report.rows] == ["streamer float32", "streamer int8"]


class _Still:
    def step(self, audio):
        return audio.sum()


@pytest.fixture
def during(monkeypatch):
    """The number of torch threads during each measurement."""
    counts = []

    class Turns:
        def __init__(self, *_):
            counts.append(torch.get_num_threads())

        def take(self):
            pass

        def rows(self):
            return []

    monkeypatch.setattr(steps, "_Turns", Turns)
    return counts


def test_the_number_of_threads_is_set_for_the_measurement_only(during):
    before = torch.get_num_threads()
    measure_steps(StepPlan(threads=before + 1, rounds=1, streams=(1,)), engines=NO_OTHERS)
    assert during == [before + 1]
    assert torch.get_num_threads() == before


def test_threads_are_restored_when_the_measurement_is_interrupted(during):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        measure_steps(StepPlan(threads=before + 1), interrupt, NO_OTHERS)
    assert torch.get_num_threads() == before


def test_progress_runs_from_zero_to_all_rounds(during):
    reported = []
    measure_steps(StepPlan(rounds=2, streams=(1, 2)), lambda *at: reported.append(at), NO_OTHERS)
    assert reported == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
