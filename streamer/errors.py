"""Errors that users see: one sentence that says what is wrong and what cures it.

Whatever a command raises from this family is printed without a traceback; the class decides the exit code.
"""

from typing import ClassVar


class StreamerError(Exception):
    """Something failed at run time; the message is one sentence with the cure."""

    exit_code: ClassVar[int] = 1


class UsageError(StreamerError):
    """A flag, a key of config.toml or an argument is wrong."""

    exit_code: ClassVar[int] = 2
