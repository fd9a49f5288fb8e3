"""`streamer run` in a process of its own, heard from outside: its JSON lines with their arrival, and what it uses."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import psutil

from streamer.config import PREFIX
from streamer.errors import StreamerError

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


END_S = 15.0
MB = 1e6


@dataclass(frozen=True, slots=True)
class Line:
    """One event, as its JSON says it, and when it came."""

    event: dict[str, Any]
    monotonic_s: float
    epoch_s: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What the process holds at one moment."""

    rss_mb: float  # resident, in millions of bytes
    open_files: int  # file descriptors; handles on Windows
    threads: int
    cpu_s: float  # since it began


class Program:
    """A context manager around one run with the default settings, or with `config` (TOML) over them.

    Neither the user's own config.toml nor STREAMER_ variables reach it, so that figures compare.
    """

    def __init__(
        self, *arguments: str, env: Mapping[str, str] | None = None, config: str = "", piped: bool = False
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="streamer-bench-")
        settings = Path(self._folder.name) / "bench.toml"
        settings.write_text(config)
        self.began_s = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamer", "run", *arguments, "--headless", "--config", str(settings)],
            env={name: value for name, value in (env or os.environ).items() if not name.startswith(PREFIX)},
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._uses = psutil.Process(self.process.pid)
        self._lines: SimpleQueue[Line | None] = SimpleQueue()  # None: the program says no more
        self._said: deque[str] = deque(maxlen=20)
        for task in (self._read, self._listen):
            threading.Thread(target=task, daemon=True).start()

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._folder.cleanup()

    def line(self, within_s: float) -> Line | None:
        """The next event; None where none came in time.

        Raises:
            EOFError: the program will say no more.
        """
        try:
            line = self._lines.get(timeout=within_s)
        except Empty:
            return None
        if line is None:
            self._lines.put(None)
            raise EOFError
        return line

    def first(self, kind: str, within_s: float) -> Line:
        """The first event of this type from now on.

        Raises:
            StreamerError: it did not come in time, or the program ended before.
        """
        deadline = time.monotonic() + within_s
        try:
            while (left_s := deadline - time.monotonic()) > 0:
                line = self.line(left_s)
                if line is not None and line.event["type"] == kind:
                    return line
        except EOFError:
            raise self.failure() from None
        raise StreamerError(f"The monitor gave no {kind} within {within_s:g} s; {self.last_words()}.")

    def usage(self) -> Usage:
        """What it holds now.

        Raises:
            StreamerError: it has ended.
        """
        if self.process.poll() is not None:  # what is left of it would be told to hold nothing
            raise self.failure()
        try:
            with self._uses.oneshot():
                cpu = self._uses.cpu_times()
                files = self._uses.num_fds() if hasattr(self._uses, "num_fds") else self._uses.num_handles()
                rss = self._uses.memory_info().rss
                return Usage(rss / MB, files, self._uses.num_threads(), cpu.user + cpu.system)
        except psutil.Error:
            raise self.failure() from None

    def failure(self) -> StreamerError:
        """What to raise where it ended by itself."""
        return StreamerError(f"The monitor that was measured ended by itself; {self.last_words()}.")

    def last_words(self) -> str:
        """What it said last on standard error."""
        return f"it said last: {self._said[-1]}" if self._said else "it said nothing"

    def end(self) -> int:
        """Ask it to end, and return its exit code."""
        return end(self.process, END_S)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            monotonic_s, epoch_s = time.monotonic(), time.time()
            self._lines.put(Line(json.loads(text), monotonic_s, epoch_s))
        self.process.stdout.close()
        self._lines.put(None)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            self._said.append(text.decode(errors="replace").strip().rstrip("."))
        self.process.stderr.close()
