"""Keep the output of native code off the screen.

Textual draws on `sys.__stderr__`. PortAudio's ALSA and JACK back ends write their messages to file descriptor 2
directly from C, in the middle of the picture; and silencing descriptor 2 around such calls, as is often done, swallows
the frames that Textual draws meanwhile. So for the whole run the terminal moves to a descriptor of its own, and
descriptor 2 is redirected to a log.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.errors import StreamerError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDOUT, STDERR = 1, 2


@contextmanager
def native_stderr_to(logfile: Path) -> Iterator[None]:
    """Append what native code writes to descriptor 2 to `logfile` while the block runs; enter before `App.run()`.

    Within the block Python's own `sys.stderr` is still the terminal, so that Textual's picture, and a traceback after
    the screen is restored, are visible. Where standard error was redirected, descriptor 2 stays redirected, and the
    picture goes to standard output if that is a terminal. The same calls exist on Windows; there Textual draws on
    standard output, and moving descriptor 2 only keeps the text out of the console.

    Raises:
        StreamerError: the log file cannot be written.
    """
    screen = next((fd for fd in (STDERR, STDOUT) if os.isatty(fd)), None)
    if screen is None:
        yield
        return
    moved = screen == STDERR
    log_fd = _open_log(logfile) if moved else None
    python_stderr, python_original = sys.stderr, sys.__stderr__
    for stream in (python_stderr, python_original):
        if stream is not None:
            stream.flush()
    native_fd = os.dup(STDERR)  # restored at the end
    tty = _terminal(os.dup(screen))
    try:
        if log_fd is not None:
            os.dup2(log_fd, STDERR)
            os.close(log_fd)
            if python_stderr is python_original:
                sys.stderr = tty
        sys.__stderr__ = tty  # type: ignore[misc]
        yield
    finally:
        tty.flush()
        sys.stderr, sys.__stderr__ = python_stderr, python_original  # type: ignore[misc]
        os.dup2(native_fd, STDERR)
        os.close(native_fd)
        tty.close()


def _open_log(logfile: Path) -> int:
    try:
        return os.open(logfile, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise StreamerError(
            f"The log file {logfile} cannot be written ({error.strerror}); choose another one with --log-file."
        ) from error


class _Screen(FileIO):
    """A terminal that takes what is drawn on it, also once it is gone.

    Textual's writing thread ends with the first error, and whoever draws then waits for it for ever.
    """

    def write(self, data: "ReadableBuffer") -> int:
        try:
            return super().write(data)
        except OSError:
            return len(memoryview(data).cast("B"))


def _terminal(fd: int) -> TextIOWrapper:
    encoding = sys.__stderr__.encoding if sys.__stderr__ else "utf-8"
    return TextIOWrapper(
        BufferedWriter(_Screen(fd, "w")), encoding=encoding, errors="backslashreplace", line_buffering=True
    )
