"""A command of the user's is bounded: in time, in what it says, in what it leaves behind."""

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from streamer.publish.command import KEPT_BYTES, Outcome, run_command

HERE = dict(os.environ)


def python(code: str, stdin: bytes = b"", timeout_s: float = 20.0, **options: object) -> Outcome:
    return run_command([sys.executable, "-c", code], stdin, HERE, timeout_s, **options)  # type: ignore[arg-type]


def test_it_gets_words_and_standard_input_as_they_are() -> None:
    command = [sys.executable, "-c", "import sys; print(sys.argv[1:], sys.stdin.read())", "$HOME; rm -rf x", "*"]
    assert run_command(command, b'{"label":"angry"}', HERE, 20) == Outcome(
        "ok", "", """['$HOME; rm -rf x', '*'] {"label":"angry"}"""
    )


def test_it_gets_the_variables_that_it_is_given_and_no_others() -> None:
    assert run_command(["/usr/bin/env"], b"", {"A": "1"}, 20).output == "A=1"


def test_a_failure_is_its_exit_code_and_its_last_words() -> None:
    outcome = python("import sys; print('working'); print('no\\x1b[2J lamp', file=sys.stderr); sys.exit(3)")
    assert outcome == Outcome("failed", "exit code 3", "no [2J lamp")


def test_a_program_that_is_not_there_is_a_failure() -> None:
    assert (
        run_command(["/nowhere/lamp"], b"", HERE, 5).text
        == "/nowhere/lamp cannot be started (No such file or directory)"
    )
    assert run_command(["lamp\0"], b"", HERE, 5).result == "failed"


def test_a_command_that_a_signal_ends_is_said_by_the_signals_name() -> None:
    assert python("import os; os.kill(os.getpid(), 11)").text == "it was ended by SIGSEGV"


@pytest.mark.parametrize("stubborn", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"])
def test_one_that_hangs_is_ended(stubborn: str) -> None:
    began = time.monotonic()
    outcome = python(f"{stubborn}import time; print('here', flush=True); time.sleep(60)", timeout_s=1.0)
    assert outcome == Outcome("timeout", "it took longer than 1 s and was ended", "here")
    assert time.monotonic() - began < 30


def test_one_that_closes_its_output_is_waited_for() -> None:
    outcome = python("import os, sys, time; os.close(1); os.close(2); time.sleep(0.5); os._exit(4)")
    assert outcome.text == "exit code 4"


def test_one_that_writes_without_end_fills_no_memory() -> None:
    before = psutil.Process().memory_info().rss
    outcome = python("import sys\nwhile True: sys.stdout.write('x' * 65536)", timeout_s=1.0)
    assert outcome.result == "timeout"
    assert len(outcome.output) <= KEPT_BYTES
    assert psutil.Process().memory_info().rss - before < 20e6


def test_what_it_leaves_running_is_ended_with_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    outcome = run_command(["sh", "-c", f"sleep 60 & echo $! > {pid}"], b"", HERE, 20)
    assert outcome.result == "ok"
    deadline = time.monotonic() + 5
    while psutil.pid_exists(left := int(pid.read_text())) and psutil.Process(left).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_is_ended_when_the_program_ends() -> None:
    began = time.monotonic()
    outcome = python("import time; time.sleep(60)", give_up=lambda: time.monotonic() - began > 0.5)
    assert outcome.result == "stopped"
    assert time.monotonic() - began < 30
