"""Ending the processes that a measurement started."""

import contextlib
import subprocess
from typing import Any

PATIENCE_S = 5.0


def end(process: subprocess.Popen[Any], patience_s: float = PATIENCE_S) -> int:
    """Ask it to end, insist where it does not, and return its exit code. Safe to call twice.

    What nobody else reads or writes is closed: its standard input.
    """
    if process.poll() is None:
        process.terminate()
    try:
        code = process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError, ValueError):  # what was not written yet goes nowhere
            process.stdin.close()
    return code
