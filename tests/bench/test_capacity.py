"""The search for the largest number of streams, with invented times."""

import json
from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamer.bench import capacity, conversation
from streamer.bench.capacity import CapacityPlan, CapacityRow, find_capacity, largest_passing
from streamer.codec.cpu import pack
from streamer.errors import UsageError


@given(most=st.integers(0, 300), limit=st.integers(1, 200))
def test_the_search_finds_the_largest_number_that_holds(most, limit):
    tried = []
    found = largest_passing(lambda n: tried.append(n) or n <= most, limit)
    assert found == min(most, limit)
    assert len(tried) == len(set(tried)) <= 2 * limit.bit_length() + 1
    assert all(1 <= n <= limit for n in tried)


@given(most=st.integers(0, 300), limit=st.integers(1, 200))
def test_a_coarse_search_ends_near_the_largest_number(most, limit):
    tried = {}
    found = largest_passing(lambda n: tried.setdefault(n, n <= most), limit, coarse=0.1)
    assert found <= min(most, limit) <= max(found + 1, 1.1 * found)
    assert found == 0 or tried[found]


@pytest.fixture
def machine(monkeypatch):
    """A machine that runs a given number of streams in real time."""

    def of(most):
        def attempt(streams, *_):
            return CapacityRow(streams, 100, 1.0 * streams, 2.0 * streams, real_time=streams <= most)

        monkeypatch.setattr(capacity, "_time_steps", attempt)

    return of


def test_rows_hold_every_number_tried_in_rising_order(machine):
    machine(5)
    tried = []
    found = find_capacity(CapacityPlan(), lambda row: tried.append(row.streams))
    assert found.largest == 5
    assert not found.at_limit
    assert tried == [1, 2, 4, 8, 6, 5]
    assert [row.streams for row in found.rows] == [1, 2, 4, 5, 6, 8]
    assert found.hop_ms == pytest.approx(240)
    plain = json.loads(json.dumps(asdict(found), allow_nan=False))
    times = {"steps": 100, "step_p50_ms": 1, "step_p99_ms": 2, "result_p99_ms": None}
    assert plain["rows"][0] == {"streams": 1, "real_time": True, **times}


@pytest.mark.parametrize(("most", "largest_found", "at_limit"), [(0, 0, False), (10, 10, True), (99, 10, True)])
def test_a_machine_may_run_no_stream_or_more_than_the_limit(most, largest_found, at_limit, machine):
    machine(most)
    found = find_capacity(CapacityPlan(limit=10))
    assert (found.largest, found.at_limit) == (largest_found, at_limit)


def test_real_steps_are_measured():
    found = find_capacity(CapacityPlan(hop_frames=1, steps=2, limit=1))
    (row,) = found.rows
    assert row.streams == 1
    assert 0 < row.step_p50_ms <= row.step_p99_ms
    assert row.real_time == (row.step_p99_ms < found.hop_ms)
    assert found.gflops > 0


def test_steps_end_as_soon_as_too_many_are_late(monkeypatch):
    monkeypatch.setattr(capacity, "time_ms", lambda step: 14.0)  # the hop has 13.3
    row = find_capacity(CapacityPlan(hop_frames=1, steps=100, limit=1)).rows[0]
    assert row.steps == 2  # one in a hundred may be late
    assert not row.real_time


def test_an_unsupported_precision_is_refused(monkeypatch):
    monkeypatch.setattr(pack, "supported", lambda precision: precision != "int8")
    with pytest.raises(UsageError, match="VNNI"):
        find_capacity(CapacityPlan(precision="int8"))


def test_the_number_of_threads_is_set_for_the_measurement_only(machine, monkeypatch):
    machine(1)
    before = torch.get_num_threads()
    during = []
    monkeypatch.setattr(capacity, "matrix_gflops", lambda device: during.append(torch.get_num_threads()) or 1.0)
    find_capacity(CapacityPlan(threads=before + 1, limit=1))
    assert during == [before + 1]
    assert torch.get_num_threads() == before


def test_the_whole_inference_is_measured_where_streams_have_a_share_of_speech(monkeypatch):
    monkeypatch.setattr(conversation, "SETTLING_HOPS", 2)
    found = find_capacity(CapacityPlan(speech=0.5, steps=2, limit=2))
    assert found.speech == 0.5
    assert [row.streams for row in found.rows] == [1, 2]
    for row in found.rows:
        assert 0 < row.step_p50_ms <= row.step_p99_ms <= row.result_p99_ms
        assert row.real_time == (row.result_p99_ms < 2 * found.hop_ms)
