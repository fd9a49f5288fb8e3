"""Notices of the commands, on standard error."""

import contextlib
import sys


def notice(text: str) -> None:
    """Print one line that begins with the program's name; nowhere, if standard error is gone."""
    with contextlib.suppress(OSError, ValueError):  # a terminal that was closed; a closed stream
        print(f"streamer: {text}", file=sys.stderr, flush=True)
