"""A program on a pseudo-terminal: what it writes, the keys it gets, and how it ends."""

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from typing import IO

import pytest

from tests.conftest import missing

PATIENCE_S = 60.0  # an upper bound only: every wait ends as soon as its condition holds


class Terminal:
    """`command` on a pseudo-terminal of `columns` x `rows` cells, in a session of its own; keeps every byte it writes.

    `stdin` and `stderr` replace the terminal for these streams; the program can still open /dev/tty.
    """

    def __init__(
        self,
        *command: str,
        columns: int = 80,
        rows: int = 24,
        env: Mapping[str, str] | None = None,
        stdin: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
        term: str = "xterm-256color",
    ) -> None:
        pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
        import fcntl

        try:
            self._fd, slave = pty.openpty()
        except OSError:
            missing("A pseudo-terminal", "mount /dev/pts")
        termios.tcsetwinsize(slave, (rows, columns))

        def begin_session() -> None:
            fcntl.ioctl(1, termios.TIOCSCTTY, 0)  # so that there is a /dev/tty
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup

        environment = {**(env or os.environ), "TERM": term, "OMP_NUM_THREADS": "1"}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            command,
            stdin=stdin or slave,
            stdout=slave,
            stderr=stderr or slave,
            env=environment,
            start_new_session=True,
            preexec_fn=begin_session,
        )
        os.close(slave)
        self.written = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """Everything written so far, with the terminal's control sequences."""
        return self.written.decode(errors="replace")

    def _read(self) -> None:
        while (fd := self._fd) >= 0:  # not blocked in a read, which would keep the terminal open after `hang_up`
            try:
                if not select.select([fd], [], [], 0.05)[0]:
                    continue
                piece = os.read(fd, 65_536)
            except (OSError, ValueError):  # the other side is closed, or ours
                return
            if not piece:
                return
            self.written += piece

    def shows(self, text: str, within_s: float = PATIENCE_S, since: int = 0) -> int:
        """Wait until `text` was written after byte `since`; return how much was written then."""
        deadline = time.monotonic() + within_s
        while text.encode() not in self.written[since:]:
            ended = self.process.poll() is not None
            if ended:
                self._thread.join(within_s)  # the last piece may still be on its way
            if text.encode() in self.written[since:]:
                break
            assert not ended, f"the program ended without {text!r}: {self.text[-2_000:]}"
            assert time.monotonic() < deadline, f"{text!r} never came: {self.text[-2_000:]}"
            time.sleep(0.05)
        return len(self.written)

    def press(self, keys: str | bytes) -> int:
        """Type `keys`, or send these bytes; return how much was written before."""
        before = len(self.written)
        os.write(self._fd, keys if isinstance(keys, bytes) else keys.encode())
        return before

    def hang_up(self) -> None:
        """Close the terminal, as closing its window does."""
        fd, self._fd = self._fd, -1
        self._thread.join(PATIENCE_S)
        os.close(fd)

    def wait(self, within_s: float = PATIENCE_S) -> int:
        """Return the exit code, once the program has ended and all its output is read."""
        code = self.process.wait(within_s)
        self._thread.join(within_s)
        return code

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        self._thread.join(2.0)
        if self._fd >= 0:
            os.close(self._fd)
