"""`streamer run` in its own process, observed from outside: JSON lines with arrival times, and resources."""

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

TERMINATE_S = 5.0  # before a process is killed
END_S = 15.0  # the same for a monitor
MB = 1e6


def end(process: subprocess.Popen[Any], patience_s: float = TERMINATE_S) -> int:
    """Terminate a process, kill it after `patience_s`, close its standard input, and return its exit code.

    Safe to call twice.
    """
    if process.poll() is None:
        process.terminate()
    try:
        code = process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError, ValueError):  # whatever is still unwritten is lost
            process.stdin.close()
    return code


@dataclass(frozen=True, slots=True)
class Line:
    """One event as parsed JSON, and its arrival time on two clocks."""

    event: dict[str, Any]
    monotonic_s: float
    epoch_s: float


@dataclass(frozen=True, slots=True)
class Usage:
    """The resources of the process at one moment."""

    rss_mb: float  # resident, in millions of bytes
    open_files: int  # file descriptors; handles on Windows
    threads: int
    cpu_s: float  # since its start


class Program:
    """A context manager around one run with the default settings, overridden by `config` (TOML).

    It sees neither the user's config.toml nor STREAMER_ variables, so that figures are comparable.
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
        self._lines: SimpleQueue[Line | None] = SimpleQueue()  # None: standard output has ended
        self._stderr: deque[str] = deque(maxlen=20)  # its last lines
        for task in (self._read_events, self._read_stderr):
            threading.Thread(target=task, daemon=True).start()

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._folder.cleanup()

    def line(self, within_s: float) -> Line | None:
        """Return the next event, or None if none arrives in time.

        Raises:
            EOFError: the program has closed its standard output.
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
        """Return the next event of type `kind`.

        Raises:
            StreamerError: none arrived in time, or the program ended before.
        """
        deadline = time.monotonic() + within_s
        try:
            while (left_s := deadline - time.monotonic()) > 0:
                line = self.line(left_s)
                if line is not None and line.event["type"] == kind:
                    return line
        except EOFError:
            raise self.failure() from None
        raise StreamerError(f"The monitor sent no {kind} within {within_s:g} s; {self.last_message()}.")

    def usage(self) -> Usage:
        """Return its resources now.

        Raises:
            StreamerError: it has ended.
        """
        if self.process.poll() is not None:  # a process that has ended would count as using nothing
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
        """Return the error to raise when the program ended by itself."""
        return StreamerError(f"The measured monitor ended by itself; {self.last_message()}.")

    def last_message(self) -> str:
        """Return its last line on standard error, as the end of a sentence."""
        return f"its last message: {self._stderr[-1]}" if self._stderr else "it printed no message"

    def end(self) -> int:
        """Terminate the program and return its exit code."""
        return end(self.process, END_S)

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            monotonic_s, epoch_s = time.monotonic(), time.time()
            self._lines.put(Line(json.loads(text), monotonic_s, epoch_s))
        self.process.stdout.close()
        self._lines.put(None)

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            self._stderr.append(text.decode(errors="replace").strip().rstrip("."))
        self.process.stderr.close()
