"""Run one command, bounded in time and in what it may say."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from streamer.plain_text import printable

KEPT_BYTES = 4_096  # of the output: its end
LOOK_S = 0.05  # between two looks at whether it has ended
GRACE_S = 1.0  # between SIGTERM and SIGKILL
NICE = 10  # it waits for the processor where hearing needs it

Result = Literal["ok", "failed", "timeout", "stopped"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    result: Result
    text: str  # what went wrong, without a full stop; empty for `ok`
    output: str  # the last line that it printed, on either stream


def run_command(
    command: Sequence[str],
    stdin: bytes,
    environment: Mapping[str, str],
    timeout_s: float,
    give_up: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Run `command` in a process group of its own, without a shell, and wait for its end.

    Whatever it leaves running is ended with it, so that their number stays bounded.

    Args:
        command: the program, looked for on the PATH, and its arguments.
        stdin: what it reads; a few kilobytes at the most.
        environment: all of it.
        timeout_s: after which it is ended.
        give_up: asked every `LOOK_S`; True ends it too.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            env=dict(environment),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:  # ValueError: a zero byte in a label
        reason = getattr(error, "strerror", None) or str(error)
        return Outcome("failed", f"{command[0]} cannot be started ({reason})", "")
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PGRP, process.pid, NICE)
    return _wait(process, stdin, timeout_s, give_up)


def _wait(process: "subprocess.Popen[bytes]", stdin: bytes, timeout_s: float, give_up: Callable[[], bool]) -> Outcome:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(OSError):  # it does not read
        process.stdin.write(stdin)
    process.stdin.close()
    deadline, kept, cut = time.monotonic() + timeout_s, b"", ""
    while process.poll() is None and not cut:
        kept = _read(process, kept)
        if give_up():
            cut = "stopped"
        elif time.monotonic() > deadline:
            cut = "timeout"
    _end_group(process)
    kept = _read(process, kept)
    process.stdout.close()
    lines = [line for line in printable_lines(kept) if line]
    output = lines[-1] if lines else ""
    if cut == "stopped":
        return Outcome("stopped", "it was ended, because the program ends", output)
    if cut:
        return Outcome("timeout", f"it took longer than {timeout_s:g} s and was ended", output)
    code = process.returncode
    if code < 0:
        return Outcome("failed", f"it was ended by {_signal_name(-code)}", output)
    return Outcome("failed", f"exit code {code}", output) if code else Outcome("ok", "", output)


def printable_lines(output: bytes) -> list[str]:
    """Return the lines of `output` as they may be shown on a terminal."""
    return [printable(line).strip() for line in output.decode(errors="replace").splitlines()]


def _read(process: "subprocess.Popen[bytes]", kept: bytes) -> bytes:
    """Return `kept` and what comes within `LOOK_S`, its end only."""
    assert process.stdout is not None
    waiting = select.poll()
    waiting.register(process.stdout, select.POLLIN)
    if not waiting.poll(LOOK_S * 1000):
        return kept
    piece = os.read(process.stdout.fileno(), 65_536)
    if not piece:
        time.sleep(LOOK_S)  # it has ended, or closed its output and goes on
    return (kept + piece)[-KEPT_BYTES:]


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End the command, if it still runs, and all that it started."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGTERM)
    if process.returncode is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
