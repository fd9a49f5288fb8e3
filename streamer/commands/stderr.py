"""Notices of the commands, on standard error."""

import contextlib
import logging
import sys

from streamer.plain_text import sentence


class PlainFormatter(logging.Formatter):
    """Formats a log record without control characters and credentials, whatever devices and brokers wrote into it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's lines, those of a traceback among them."""
        return "\n".join(map(sentence, super().format(record).splitlines()))


def notice(text: str) -> None:
    """Print `text` behind the program's name, whatever is in it; nowhere, if standard error is gone."""
    with contextlib.suppress(OSError, ValueError):  # a terminal that was closed; a closed stream
        print(f"streamer: {sentence(text)}", file=sys.stderr, flush=True)
