"""A private broker in its own process: Mosquitto if it is installed, else the embedded broker."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from streamer.bench.program import end
from streamer.errors import StreamerError

START_S = 20.0  # importing the embedded broker takes a second or two on a small machine
_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")  # servers are not on every user's path


class LocalBroker:
    """A context manager; `url` is its address on this machine, `name` the kind of broker."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="broker-")
        self._process: subprocess.Popen[bytes] | None = None
        self._port = _free_port()
        self.url = f"mqtt://127.0.0.1:{self._port}"
        self._mosquitto = shutil.which(
            "mosquitto", path=os.pathsep.join((os.environ.get("PATH", ""), *_SYSTEM_FOLDERS))
        )
        self.name = "Mosquitto" if self._mosquitto else "the embedded broker"

    def __enter__(self) -> "LocalBroker":
        """Start the broker and wait until it accepts connections.

        Raises:
            StreamerError: it does not start.
        """
        self._process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise StreamerError(f"{self.name} does not start on {self.url}; end the program that uses that port.")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        """End the broker and remove its files."""
        if self._process is not None:
            end(self._process)
            self._process = None
        self._folder.cleanup()

    def _command(self) -> list[str]:
        if self._mosquitto is None:
            return [sys.executable, "-m", "streamer", "broker", "--port", str(self._port)]
        config = Path(self._folder.name) / "mosquitto.conf"
        lines = [f"listener {self._port} 127.0.0.1", "persistence false", "allow_anonymous true"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            lines.append("user root")  # else it drops its privileges and cannot read the folder
        config.write_text("\n".join(lines) + "\n")
        return [self._mosquitto, "-c", str(config)]

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), 0.5).close()
        except OSError:
            return False
        return True


def _free_port() -> int:
    """Return a port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
