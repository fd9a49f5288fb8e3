"""Notices of the commands, on standard error."""

import sys


def notice(text: str) -> None:
    """Print one line that begins with the program's name."""
    print(f"streamer: {text}", file=sys.stderr, flush=True)
