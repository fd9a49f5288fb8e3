"""A real Mosquitto for tests, and `mosquitto_sub` to read from it."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import missing

_READY = "tests/ready"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(name: str) -> str:
    """The path of one of Mosquitto's programs; the test is skipped where it is not installed."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    if found is None:
        missing(name, "install the packages mosquitto and mosquitto-clients")
        raise AssertionError("unreachable")
    return found


def eventually(what: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait until `what` holds."""
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, f"did not become true within {within_s} s"
        time.sleep(0.02)


@dataclass(frozen=True)
class Certificates:
    """A self-made authority, and what it signed for 127.0.0.1 and for a client."""

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path


def make_certificates(folder: Path) -> Certificates:
    """Ask openssl for an authority, a server and a client, all valid for a day."""
    openssl = shutil.which("openssl")
    if openssl is None:
        missing("openssl", "install the package openssl")
        raise AssertionError("unreachable")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    # fmt: off
    run("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "1", "-subj", "/CN=our authority",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    (folder / "names.cnf").write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
    for name in ("server", "client"):
        run("req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", f"{name}.pem", "-days", "1", "-extfile", "names.cnf")
    # fmt: on
    return Certificates(*(folder / n for n in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")))


class Mosquitto:
    """A broker on a free port of 127.0.0.1 that can be killed, frozen and started again on the same port.

    `passwords` closes it to the anonymous; `tls` encrypts, and with `ask_client` only who shows a certificate gets in.
    """

    def __init__(
        self,
        folder: Path,
        *,
        passwords: dict[str, str] | None = None,
        tls: Certificates | None = None,
        ask_client: bool = False,
        acl: str = "",
    ) -> None:
        self._program = program("mosquitto")
        self._tls = tls
        self.port = free_port()
        self.url = f"{'mqtts' if tls else 'mqtt'}://127.0.0.1:{self.port}"
        self._config = folder / f"mosquitto-{self.port}.conf"
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", "max_queued_messages 0"]
        lines.append(f"allow_anonymous {'false' if passwords else 'true'}")
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            lines.append("user root")  # else it drops its rights, and cannot read the test's folder
        if passwords:
            password_file = folder / "passwords"
            password_file.touch(mode=0o600)
            for user, password in passwords.items():
                command = [program("mosquitto_passwd"), "-b", str(password_file), user, password]
                subprocess.run(command, check=True, capture_output=True)
            lines.append(f"password_file {password_file}")
        if tls:
            lines += [f"cafile {tls.ca}", f"certfile {tls.server_cert}", f"keyfile {tls.server_key}"]
            lines.append(f"require_certificate {'true' if ask_client else 'false'}")
        if acl:
            (folder / "acl").write_text(acl)
            lines.append(f"acl_file {folder / 'acl'}")
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Mosquitto":
        """Start it, and wait until it accepts connections."""
        command = [self._program, "-c", str(self._config)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._accepts)
        return self

    def kill(self) -> None:
        """`kill -9`."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order. Safe where it does not run."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """It keeps its connections, and the kernel takes new ones for it, but nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """End of `freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def set_password(self, user: str, password: str) -> None:
        """Give a user another password; clients that came in with the one before are thrown out."""
        assert self._process is not None
        command = [program("mosquitto_passwd"), "-b", str(self._config.parent / "passwords"), user, password]
        subprocess.run(command, check=True, capture_output=True)
        self._process.send_signal(signal.SIGHUP)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            self._process.wait(5)
            self._process = None

    def _accepts(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"mosquitto does not start with {self._config.read_text()}"
        try:
            socket.create_connection(("127.0.0.1", self.port), 0.5).close()
        except OSError:
            return False
        return True


def end_reader(process: "subprocess.Popen[str]", thread: threading.Thread) -> None:
    """End a process, and the thread that reads what it says."""
    process.kill()
    process.wait(5)
    thread.join(5)
    assert process.stdout is not None
    process.stdout.close()


class Listener:
    """`mosquitto_sub` on some topics: a client that is not ours. It reconnects by itself after a second."""

    def __init__(self, port: int, topics: Sequence[str], qos: int = 0) -> None:
        where = ["-h", "127.0.0.1", "-p", str(port)]
        # What mosquitto_sub says of its subscription stays in its buffer; a retained message of our own comes out.
        announce = [program("mosquitto_pub"), *where, "-t", _READY, "-m", "ready", "-r", "-q", "1"]
        subprocess.run(announce, check=True)
        command = [program("mosquitto_sub"), *where, "-q", str(qos), "-F", "%r %t %p"]
        for topic in (*topics, _READY):
            command += ["-t", topic]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.messages: list[tuple[str, str, bool]] = []  # topic, payload, whether it was retained
        self._subscribed = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        if not self._subscribed.wait(10):
            self.close()
            raise AssertionError("mosquitto_sub does not subscribe")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            retained, topic, payload = line.rstrip("\n").split(" ", 2)
            if topic == _READY:
                self._subscribed.set()
            else:
                self.messages.append((topic, payload, retained == "1"))

    def payloads(self, topic_end: str) -> list[str]:
        """What arrived on topics that end so, in order."""
        return [payload for topic, payload, _ in list(self.messages) if topic.endswith(topic_end)]

    def close(self) -> None:
        """End the client."""
        end_reader(self._process, self._thread)


def retained(port: int, topic: str) -> str | None:
    """What a client that comes now is told about `topic`; None where nothing was retained."""
    command = [program("mosquitto_sub"), "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-C", "1", "-W", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.rstrip("\n") or None
