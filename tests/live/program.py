"""The real program in a subprocess, and a real subscriber beside it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.real_broker import Listener

LIVELY = """
[window]
window_s = 0.48
[voice]
min_speech = 0.5
[model]
threshold = 0.0
[tracker]
smoothing_s = 0.2
enter = 0.15
exit = 0.1
dwell_s = 0.0
hang_s = 0.2
"""  # short windows that all name something: transitions come often, whatever the model has been trained on


class Streamer:
    """`streamer …` with its JSON lines, in a process group of its own."""

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: Any = subprocess.DEVNULL) -> None:
        # One thread: the machines that run this have two cores and several tests' worth of work.
        environment = {**(env or os.environ), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamer", *arguments],
            env=environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # and so without a controlling terminal, as a service
        )
        self.events: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=lambda: self.errors.extend(self.process.stderr or ()), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.events.append(json.loads(line))

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of one type so far."""
        return [event for event in list(self.events) if event["type"] == kind]

    def until(self, what: Callable[[], object], within_s: float = 60.0) -> None:
        """Wait until `what` is true; the program must live until then."""
        deadline = time.monotonic() + within_s
        while not what():
            assert self.process.poll() is None, f"the program ended: {''.join(self.errors)}"
            assert time.monotonic() < deadline, f"not within {within_s} s; its messages: {''.join(self.errors)}"
            time.sleep(0.05)

    def end(self, number: signal.Signals = signal.SIGTERM, within_s: float = 60.0) -> int:
        """Send a signal and wait; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(within_s)
        for thread in self._threads:
            thread.join(5.0)
        return code

    def __enter__(self) -> "Streamer":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5.0)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def events(listener: Listener, kind: str) -> list[dict[str, Any]]:
    """The JSON messages of one kind that have arrived."""
    return [json.loads(payload) for payload in listener.payloads(f"/{kind}")]


def write_config(folder: Path, text: str) -> str:
    """A settings file; returns its path."""
    path = folder / "my.toml"
    path.write_text(text)
    return str(path)
