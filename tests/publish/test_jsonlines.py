"""Events on standard output."""

import io
import json
import math
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from streamer.events import from_json, to_json
from streamer.publish.jsonlines import JsonLines
from tests.support.event_samples import INFO, state, transition, window
from tests.support.real_broker import eventually

REPOSITORY = Path(__file__).parents[2]
fast_and_live = pytest.mark.parametrize("wait", [False, True], ids=["live", "fast"])


@fast_and_live
def test_every_event_is_a_line_in_order(wait: bool) -> None:
    stream = io.StringIO()
    out = JsonLines(stream, wait=wait)
    out.start()
    events = [INFO, window(0), transition(0), state(), window(1), transition(1)]
    for event in events:
        out.publish(event)
    out.close()
    assert stream.getvalue().splitlines() == [to_json(event) for event in events]
    assert out.stats().sent == 6
    assert out.stats().online


def test_each_line_is_out_at_once(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("w") as stream:
        out = JsonLines(stream)
        out.start()
        out.publish(window())
        eventually(lambda: path.read_text() == to_json(window()) + "\n")
        out.close()


def test_a_state_that_does_not_change_is_not_repeated_each_window() -> None:
    stream = io.StringIO()
    out = JsonLines(stream)
    out.start()
    for n in range(10):
        out.publish(state("happy", at_s=n / 4))
    out.close()
    assert len(stream.getvalue().splitlines()) == 1


def test_an_event_that_cannot_be_written_is_counted_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    out = JsonLines(stream)
    out.start()
    out.publish(replace(window(0), rms_dbfs=math.nan))
    out.publish(window(1))
    out.close()
    assert stream.getvalue() == to_json(window(1)) + "\n"
    assert (out.stats().sent, out.stats().shed) == (1, 1)
    assert "cannot be written" in caplog.text


class Pipe:
    """A real pipe whose reader does nothing by itself."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        self.stream = os.fdopen(writer, "w")

    def read_all(self) -> list[str]:
        with os.fdopen(self.reader) as reader:
            return reader.read().splitlines()


def test_a_reader_that_does_not_read_costs_the_oldest_lines_and_never_the_callers_time() -> None:
    pipe = Pipe()
    out = JsonLines(pipe.stream, max_lines=10)
    out.start()
    for seq in range(2_000):  # about 600 kB; a pipe holds 64 kB
        out.publish(window(seq))
    stats = out.stats()
    assert stats.shed > 1_000
    assert stats.sent + stats.queued + stats.shed == 2_000
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(pipe.read_all()))
    reader.start()
    out.close()
    pipe.stream.close()
    reader.join(60)
    seqs = [json.loads(line)["seq"] for line in lines]
    assert seqs == sorted(seqs)
    assert seqs[-10:] == list(range(1_990, 2_000))
    assert len(seqs) == out.stats().sent


def test_closing_does_not_wait_for_a_reader_that_does_not_read() -> None:
    pipe = Pipe()
    out = JsonLines(pipe.stream)
    out.start()
    for seq in range(900):
        out.publish(window(seq))
    out.close()
    stats = out.stats()
    assert stats.shed > 0
    assert stats.sent + stats.queued + stats.shed == 900
    reader = threading.Thread(target=pipe.read_all)  # frees the thread that still holds a line
    reader.start()
    eventually(lambda: not out.stats().queued)
    pipe.stream.close()
    reader.join(60)


def test_fast_sheds_nothing_however_slow_the_reader() -> None:
    pipe = Pipe()
    out = JsonLines(pipe.stream, wait=True, max_lines=3)
    out.start()

    def write() -> None:
        for seq in range(1_000):
            out.publish(window(seq))
        out.close()
        pipe.stream.close()

    writer = threading.Thread(target=write)
    writer.start()
    eventually(lambda: out.stats().queued == 4)  # full, the writer waits
    lines = pipe.read_all()
    writer.join(60)
    assert [json.loads(line)["seq"] for line in lines] == list(range(1_000))
    assert out.stats().shed == 0


@fast_and_live
def test_a_reader_that_left_ends_it_quietly_and_is_reported_once(wait: bool) -> None:
    pipe = Pipe()
    calls: list[str] = []
    out = JsonLines(
        pipe.stream, wait=wait, max_lines=2, on_closed=lambda: calls.append(threading.current_thread().name)
    )
    out.start()
    os.close(pipe.reader)
    for seq in range(100):  # in the fast mode, too, this ends
        out.publish(window(seq))
    eventually(lambda: bool(calls))
    out.publish(window(100))
    out.close()
    out.close()
    stats = out.stats()
    assert calls == ["jsonlines"]
    assert (stats.online, stats.detail) == (False, "The reader of the output has closed it.")
    assert (stats.sent, stats.queued, stats.shed) == (0, 0, 101)
    pipe.stream.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_a_full_disk_is_named() -> None:
    with open("/dev/full", "w") as stream:
        out = JsonLines(stream)
        out.start()
        out.publish(window())
        eventually(lambda: not out.stats().online)
        assert "No space left" in out.stats().detail
        out.close()


def test_closing_before_the_start_is_safe() -> None:
    out = JsonLines(io.StringIO())
    out.close()
    out.close()


PROGRAM = """
import sys, threading
sys.path[:0] = {paths}
from tests.support.event_samples import window
from streamer.publish.jsonlines import JsonLines
ended = threading.Event()
out = JsonLines(sys.stdout, wait={wait}, on_closed=ended.set)
out.start()
seq = 0
while not ended.is_set() and seq < {count}:
    out.publish(window(seq))
    seq += 1
out.close()
"""


def run_program(wait: bool, count: int) -> subprocess.Popen[bytes]:
    code = PROGRAM.format(paths=[str(REPOSITORY)], wait=wait, count=count)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@fast_and_live
def test_head_ends_the_program_without_a_word(wait: bool) -> None:
    process = run_program(wait, count=10**9)
    assert process.stdout is not None
    assert process.stderr is not None
    assert from_json(process.stdout.readline())
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == b""
    process.stderr.close()


def test_the_program_exits_though_its_reader_is_stuck() -> None:
    process = run_program(wait=False, count=5_000)
    assert process.wait(60) == 0
    _, errors = process.communicate()
    assert errors == b""
