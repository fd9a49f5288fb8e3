"""Real streaming servers on loopback for tests: Icecast, an RTSP server, and ffmpeg as what feeds them.

Everything sends the same noise without loss (FLAC or L16), so that a test can say of every sample where it comes from.
A server can be killed, frozen, thawed and started again on the same port.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from streamer.constants import SAMPLE_RATE
from tests.conftest import missing
from tests.support.real_broker import Certificates, eventually, free_port

NOISE_S = 600  # longer than any test's connection


def program(name: str, package: str) -> str:
    """The path of a program; the test is skipped where it is not installed."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/bin:/opt/homebrew/bin")
    if found is None:
        missing(name, f"install the package {package}")
        raise AssertionError("unreachable")
    return found


def write_noise(path: Path, seconds: float = NOISE_S, rate_hz: int = SAMPLE_RATE, channels: int = 1) -> np.ndarray:
    """Write seeded noise as a 16 bit WAV file; return it as [n, channels] int16."""
    rng = np.random.default_rng(23)
    noise = rng.integers(-3000, 3000, (round(seconds * rate_hz), channels), dtype=np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(noise.tobytes())
    return noise


class _Processes:
    """The processes of one server, in the order in which they are started."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / "servers.log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def run_until(self, is_ready: Callable[[int], bool], *command: str) -> int:
        """Spawn a program and wait until `is_ready(pid)`; return its pid. Whatever ended too early is started again:
        a port was taken for a moment, or what it feeds was not there yet."""
        place = len(self._processes)
        self.spawn(*command)

        def ready() -> bool:
            for index, process in enumerate(self._processes):
                if process.poll() is not None:
                    time.sleep(0.2)
                    again = self.spawn(*process.args)  # type: ignore[arg-type, misc]
                    self._processes.remove(again)
                    self._processes[index] = again
            return is_ready(self._processes[place].pid)

        try:
            eventually(ready, 30.0)
        except AssertionError:
            raise AssertionError(f"{command[0]} does not get ready: {self.log()}") from None
        return self._processes[place].pid

    def signal_all(self, number: signal.Signals) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)

    def kill(self) -> None:
        """`kill -9`."""
        self.signal_all(signal.SIGCONT)
        self.signal_all(signal.SIGKILL)
        for process in self._processes:
            process.wait(5)
        self._processes.clear()

    def freeze(self) -> None:
        """Connections stay, the kernel takes new ones, and nothing is answered."""
        self.signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """End of `freeze`; programs that gave up meanwhile are started again by whoever uses this."""
        self.signal_all(signal.SIGCONT)

    def failed(self) -> bool:
        return any(process.poll() is not None for process in self._processes)

    def log(self) -> str:
        return (self.folder / "servers.log").read_text(errors="replace")[-2000:]


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True


def _answers(port: int, request: str) -> bool:
    """Whether the answer to `request` is 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), 0.5) as connection:
            connection.sendall(f"{request}\r\n\r\n".encode())
            return connection.recv(100).split()[1] == b"200"
    except (OSError, IndexError):
        return False


def _sockets(pid: int, kind: str) -> int:
    try:
        return len(psutil.Process(pid).net_connections(kind))
    except psutil.Error:
        return 0


def _free_rtp_port() -> int:
    """Return an even UDP port of 127.0.0.1 that is free, as the next ones are, below those that the system gives."""
    for port in random.Random().sample(range(10_000, 20_000, 10), 1000):
        try:
            for each in range(port, port + 4):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("127.0.0.1", each))
        except OSError:
            continue
        return port
    raise AssertionError("no free UDP port")


class Icecast(_Processes):
    """Icecast with one source client: `noise.ogg`, FLAC in Ogg.

    It is watched from outside until it is ready, and started again where it ends before that. Its mount is open.
    """

    SOURCE_PASSWORD = "hackme"

    def __init__(self, folder: Path, noise: Path) -> None:
        super().__init__(folder)
        self._icecast = program("icecast2", "icecast2")
        self._ffmpeg = program("ffmpeg", "ffmpeg")
        self._noise = noise
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/noise.ogg"
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        change = "<changeowner><user>nobody</user><group>nogroup</group></changeowner>" if root else ""
        if root:  # it drops its rights, and must still read the test's folder
            for parent in (folder, *folder.parents[:2]):
                parent.chmod(0o755)
        self._config = folder / "icecast.xml"
        self._config.write_text(
            f"""<icecast><limits><clients>20</clients><sources>2</sources><burst-size>16384</burst-size>
            <client-timeout>30</client-timeout><header-timeout>15</header-timeout><source-timeout>10</source-timeout>
            <queue-size>524288</queue-size></limits>
            <authentication><source-password>{self.SOURCE_PASSWORD}</source-password>
            <admin-user>admin</admin-user><admin-password>hackme</admin-password></authentication>
            <hostname>localhost</hostname>
            <listen-socket><port>{self.port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
            <paths><logdir>/tmp</logdir><webroot>{folder}</webroot><adminroot>{folder}</adminroot></paths>
            <logging><accesslog>-</accesslog><errorlog>-</errorlog><loglevel>2</loglevel></logging>
            <security><chroot>0</chroot>{change}</security></icecast>"""
        )

    def start(self) -> "Icecast":
        """Start it and its source client, and wait until the mount is there."""
        self.run_until(lambda pid: _sockets(pid, "tcp") > 0, self._icecast, "-c", str(self._config))
        time.sleep(0.2)
        self.run_until(
            lambda _: _answers(self.port, "GET /noise.ogg HTTP/1.0"),
            self._ffmpeg, "-v", "error", "-re", "-i", str(self._noise), "-c:a", "flac", "-sample_fmt", "s16",
            "-frame_size", "1152", "-page_duration", "50000", "-content_type", "application/ogg", "-f", "ogg",
            f"icecast://source:{self.SOURCE_PASSWORD}@127.0.0.1:{self.port}/noise.ogg",
        )  # fmt: skip
        return self


class RtspServer(_Processes):
    """rtsp-server-perl with ffmpeg as its camera: `noise`, L16 at 24 kHz, over UDP; with a `picture` where wanted."""

    def __init__(self, folder: Path, noise: Path, picture: bool = False) -> None:
        super().__init__(folder)
        self._server = program("rtsp-server-perl", "rtsp-server-perl")
        self._ffmpeg = program("ffmpeg", "ffmpeg")
        self._noise = noise
        self.port, self._source_port = free_port(), free_port()
        self._rtp_port = _free_rtp_port()
        self._picture = ["-f", "lavfi", "-i", "testsrc=r=5:s=64x64", "-c:v", "mpeg4"] if picture else []
        self.url = f"rtsp://127.0.0.1:{self.port}/noise"

    def start(self) -> "RtspServer":
        """Start the server, then the camera."""
        # Looked at from outside: at the end of any connection before the camera's, rtsp-server-perl 0.06 falls back to
        # its default RTP port, which another server on this machine may use.
        self.run_until(
            lambda pid: _sockets(pid, "tcp") == 2,
            self._server, "--clientport", str(self.port), "--serverport", str(self._source_port),
            "--client_listen_address", "127.0.0.1", "--source_listen_address", "127.0.0.1",
            "--rtp_start_port", str(self._rtp_port),
        )  # fmt: skip
        describe = f"DESCRIBE {self.url} RTSP/1.0\r\nCSeq: 1"
        self.run_until(
            lambda _: _sockets(self._processes[0].pid, "udp") > 0 and _answers(self.port, describe),
            self._ffmpeg, "-v", "error", "-re", "-i", str(self._noise), *self._picture, "-c:a", "pcm_s16be",
            "-f", "rtsp", "-rtsp_transport", "udp", f"rtsp://127.0.0.1:{self._source_port}/noise",
        )  # fmt: skip
        return self


_FILE_SERVER = """
import base64, http.server, ssl, sys
port, folder, login, *certificate_and_key = sys.argv[1:]
token = "Basic " + base64.b64encode(login.encode()).decode()

class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if login and self.headers["Authorization"] != token:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="files"')
            self.end_headers()
        else:
            super().do_GET()

server = http.server.ThreadingHTTPServer(
    ("127.0.0.1", int(port)), lambda *given: Handler(*given, directory=folder)
)
if certificate_and_key:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate_and_key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


class FileServer(_Processes):
    """An HTTP server for the files of a folder; for one user, where a `login` is given; over TLS, with certificates."""

    def __init__(self, folder: Path, tls: Certificates | None = None, login: str = "") -> None:
        super().__init__(folder)
        self.port = free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._arguments = [str(self.port), str(folder), login]
        if tls:
            self._arguments += [str(tls.server_cert), str(tls.server_key)]

    def start(self) -> "FileServer":
        """Start it, and wait until it answers."""
        self.run_until(lambda _: _accepts(self.port), sys.executable, "-c", _FILE_SERVER, *self._arguments)
        return self
