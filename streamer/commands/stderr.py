"""Notices of the commands, on standard error."""

import contextlib
import sys

from streamer.plain_text import sentence


def notice(text: str) -> None:
    """Print `text` behind the program's name, whatever is in it; nowhere, if standard error is gone."""
    with contextlib.suppress(OSError, ValueError):  # a terminal that was closed; a closed stream
        print(f"streamer: {sentence(text)}", file=sys.stderr, flush=True)
