"""The measurement's bookkeeping. How fast anything is, no test says."""

import json
from itertools import product

import pytest
import torch

from streamer.bench import steps
from streamer.bench.engines import Peers, StepPeer, WindowPeer
from streamer.bench.timing import nearest_rank

NOBODY = Peers((), (), ())


def slow(*_):
    return lambda: torch.randn(300, 300) @ torch.randn(300, 300)


@pytest.fixture(scope="module")
def report():
    peers = Peers((StepPeer("stepping", slow),), (WindowPeer("re-encoding", slow),), ("nobody is not timed: buy it",))
    return steps.measure(
        repeats=1, chunk_frames=(1, 6), streams=(1, 2), window_s=0.2, precisions=("float32",), peers=peers
    )


def test_there_is_a_row_for_every_number_of_streams_chunk_and_engine(report):
    engines = ("streamer float32", "stepping", "re-encoding")
    rows = [(row.streams, round(row.chunk_ms, 1), row.engine) for row in report.rows]
    assert rows == list(product((1, 2), (13.3, 80), engines))


def test_the_figures_of_a_row_agree(report):
    for row in report.rows:
        ours = next(r for r in report.rows if (r.streams, r.chunk_ms) == (row.streams, row.chunk_ms))
        assert 0 < row.median_ms <= row.p95_ms
        assert row.real_time_factor == pytest.approx(row.median_ms / row.chunk_ms)
        assert row.ratio == pytest.approx(row.median_ms / ours.median_ms)


def test_a_window_takes_the_same_however_long_the_chunk_is(report):
    one, same, two, _ = [row.median_ms for row in report.rows if row.engine == "re-encoding"]
    assert one == same != two


def test_the_report_is_plain_json(report):
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["threads"] == 1
    assert plain["steps"] == 10
    assert plain["gflops"] > 0
    assert plain["rows"][0]["engine"] == "streamer float32"
    assert plain["missing"] == ["nobody is not timed: buy it"]
    assert plain["torch_version"] == torch.__version__


def test_a_reduced_precision_stands_beside_float32_which_is_always_there(monkeypatch):
    asked = []
    monkeypatch.setattr(steps, "_started", lambda encoder, precision, batch_size: asked.append(precision) or _Still())
    report = steps.measure(repeats=1, chunk_frames=(1,), streams=(1,), precisions=("int8",), peers=NOBODY)
    assert asked == ["float32", "int8"]
    assert [row.engine for row in report.rows] == ["streamer float32", "streamer int8"]


class _Still:
    def step(self, audio):
        return audio.sum()


@pytest.fixture
def during(monkeypatch):
    """The threads that torch has while something is measured."""
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
    steps.measure(threads=before + 1, repeats=1, streams=(1,), peers=NOBODY)
    assert during == [before + 1]
    assert torch.get_num_threads() == before


def test_threads_are_set_back_when_the_measurement_is_broken_off(during):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        steps.measure(threads=before + 1, peers=NOBODY, on_progress=interrupt)
    assert torch.get_num_threads() == before


def test_progress_runs_from_nothing_to_everything(during):
    told = []
    steps.measure(repeats=2, streams=(1, 2), peers=NOBODY, on_progress=lambda *at: told.append(at))
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(("share", "value"), [(0.95, 19), (0.99, 20), (0.5, 10), (0.01, 1)])
def test_a_percentile_is_the_nearest_rank(share, value):
    assert nearest_rank([float(n) for n in range(20, 0, -1)], share) == value
