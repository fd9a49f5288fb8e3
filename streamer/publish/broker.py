"""The embedded MQTT broker, for machines without one: a process of its own, started again when it dies."""

import contextlib
import ipaddress
import json
import logging
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from streamer.errors import StreamerError, UsageError
from streamer.publish.broker_access import USERNAME, AccessMode, new_secret
from streamer.publish.broker_files import write_broker_file

PORT = 1883
_PORTS_TRIED = 100
_START_S = 20.0  # importing amqtt takes a second or two on a small machine
_STOP_S = 3.0
_RETRIES_S = (0.1, 0.5, 1.0, 2.0)  # before each start after it died; the last for ever

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """How the embedded broker listens, and whom it lets in.

    Raises:
        UsageError: `bind` is no IP address, or not loopback without a password of its own; or the port is wrong.
    """

    bind: str = "127.0.0.1"
    port: int = PORT
    access: AccessMode = "read"
    prefix: str = "streamer"  # of the topics that everybody may read with `access="read"`
    secret: str = field(default_factory=new_secret, repr=False)
    open_to_network: bool = False  # only who knows the secret is let in, wherever it connects from
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        try:
            address = ipaddress.ip_address(self.bind)
        except ValueError:
            raise UsageError(
                f"The broker cannot listen on {self.bind!r}; give an IP address such as 127.0.0.1."
            ) from None
        if not address.is_loopback and not self.open_to_network:
            raise UsageError(
                f"A broker on {self.bind} can be reached from the network; keep it on 127.0.0.1, or open it with "
                "--open-to-network, which demands a password."
            )
        if not 1 <= self.port <= 65_535:
            raise UsageError(f"The broker cannot listen on port {self.port}; give one from 1 to 65535.")

    def settings(self, port: int, ports: int) -> dict[str, object]:
        """Return what the broker's process is told."""
        return {
            "bind": self.bind,
            "port": port,
            "ports": ports,
            "access": "secret" if self.open_to_network else self.access,
            "prefix": self.prefix,
            "secret": self.secret,
            "tls_cert": "" if self.tls_cert is None else str(self.tls_cert),
            "tls_key": "" if self.tls_key is None else str(self.tls_key),
        }


class EmbeddedBroker:
    """An MQTT 3.1.1 broker in a process of its own. It keeps no sessions; retained messages live as long as it does.

    It is bounded in everything (`broker_connection.py`, `bounded_broker.py`), and started again on its port when it
    dies. What was retained is gone then; every publisher of ours publishes that again when it connects.
    """

    def __init__(self, options: BrokerOptions | None = None) -> None:
        self._options = options or BrokerOptions()
        self._port: int | None = None
        self._file: Path | None = None
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()  # around starting and ending the process
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_running, name="broker", daemon=True)
        self.restarts = 0

    def start(self) -> str:
        """Listen on the port, or on the next free one, and return the URL for clients on this machine.

        Raises:
            StreamerError: no port is free, or the address is not one of this machine.
        """
        self._port = self._spawn(self._options.port, _PORTS_TRIED)
        self._file = write_broker_file(self.url, self._options.secret)
        self._thread.start()
        return self.url

    @property
    def url(self) -> str:
        """The URL for clients on this machine, once started; without the login."""
        unspecified = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # clients cannot connect to "every address"
        host = unspecified.get(self._options.bind, self._options.bind)
        scheme = "mqtt" if self._options.tls_cert is None else "mqtts"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._port}"

    @property
    def login(self) -> tuple[str, str]:
        """User name and password of clients that may do everything."""
        return USERNAME, self._options.secret

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return None if self._process is None else self._process.pid

    def stop(self) -> None:
        """Disconnect all clients and end the process, within three seconds. Safe to call twice, and before `start`."""
        self._stopping.set()
        if self._file is not None:
            self._file.unlink(missing_ok=True)
        with self._lock:
            self._end()
        if self._thread.ident is not None:
            self._thread.join(_STOP_S)

    def _spawn(self, port: int, ports: int) -> int:
        """Start the process, and return the port on which it listens."""
        with self._lock:
            if self._stopping.is_set():
                raise StreamerError("The broker was stopped.")
            # A session of its own: Ctrl-C at the terminal is for the monitor, which then says good-bye through it.
            process = subprocess.Popen(
                [sys.executable, "-m", "streamer.publish.broker_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
            self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(_START_S, process.kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(json.dumps(self._options.settings(port, ports)) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline() or "{}")
        except (OSError, ValueError):
            answer = {}
        finally:
            timer.cancel()
        if "port" in answer:
            return int(answer["port"])
        with self._lock:
            self._end()
        raise StreamerError(
            answer.get("failure", "The embedded broker does not start; give the URL of another broker.")
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if threading.current_thread() is not self._thread and self._thread.is_alive():
            return  # the thread reads to the end of the output, and closes it
        assert process.stdout is not None
        process.stdout.close()

    def _keep_running(self) -> None:
        """Log what the process says; start it again when it ends by itself."""
        while not self._stopping.is_set():
            process = self._process
            if process is None:
                return
            started = time.monotonic()
            assert process.stdout is not None
            with contextlib.suppress(ValueError, OSError), process.stdout:
                for line in process.stdout:
                    logger.info("%s", json.loads(line).get("news", line))
            code = process.wait()
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            if self._stopping.is_set():
                return
            logger.warning("The embedded broker ended by itself (exit code %d); it is started again.", code)
            if not self._start_again(quickly=time.monotonic() - started > _RETRIES_S[-1]):
                return

    def _start_again(self, quickly: bool) -> bool:
        """Return whether it runs again; False where it was stopped meanwhile."""
        assert self._port is not None
        attempt = 0 if quickly else 1
        while not self._stopping.wait(_RETRIES_S[min(attempt, len(_RETRIES_S) - 1)]):
            attempt += 1
            try:
                self._spawn(self._port, 1)
            except StreamerError as error:
                logger.warning("%s", error)
                continue
            self.restarts += 1
            return True
        return False
