"""The embedded broker on the network: encrypted, and for whoever has the password alone."""

import contextlib
import gc
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.publish.broker import EmbeddedBroker
from streamer.publish.broker_server import CONNECT_S, MAX_CONNECTIONS
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import MqttSettings
from tests.publish.embedded import QUICK, port_of, started
from tests.publish.raw_client import connect_packet
from tests.support.event_samples import transition
from tests.support.real_broker import Certificates, eventually, free_port, make_certificates, program

pytestmark = [
    pytest.mark.real,  # openssl, mosquitto_sub
    # paho leaves the socket of a failed handshake to the garbage collector.
    pytest.mark.filterwarnings("ignore:.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def broker(made: Certificates) -> Iterator[EmbeddedBroker]:
    options = {"tls_cert": made.server_cert, "tls_key": made.server_key}
    with started(bind="0.0.0.0", open_to_network=True, **options) as running:
        yield running


def outcome(settings: MqttSettings) -> str:
    """`online` once a message was acknowledged; else why not."""
    out = MqttPublisher(settings, QUICK)
    with contextlib.closing(out):
        out.start()
        out.publish(transition(0))
        eventually(lambda: out.stats().sent >= 1 or bool(out.stats().detail), 20)
        detail = out.stats().detail
    gc.collect()  # once it is closed: until then it goes on trying, and the next test would be blamed
    return detail or "online"


def settings(broker: EmbeddedBroker, made: Certificates, **changed: object) -> MqttSettings:
    username, password = broker.login
    told = {"url": broker.url, "node": "n", "username": username, "password": password, "ca_file": made.ca} | changed
    return MqttSettings(**told)  # type: ignore[arg-type]


def test_who_trusts_the_certificate_and_has_the_password_is_served(broker: EmbeddedBroker, made: Certificates) -> None:
    assert broker.url.startswith("mqtts://")
    assert outcome(settings(broker, made)) == "online"


def test_who_trusts_another_authority_does_not_connect(broker: EmbeddedBroker, made: Certificates) -> None:
    assert "cannot be trusted" in outcome(settings(broker, made, ca_file=None))


@pytest.mark.parametrize("login", [{"password": "wrong"}, {"username": None, "password": None}])
def test_without_the_password_nobody_is_let_in(broker: EmbeddedBroker, made: Certificates, login: dict) -> None:
    assert "refuses the login" in outcome(settings(broker, made, **login))


def test_an_unencrypted_client_gets_nothing(broker: EmbeddedBroker) -> None:
    with socket.create_connection(("127.0.0.1", port_of(broker)), 5) as plain:
        plain.sendall(connect_packet("plain", login=broker.login))
        with contextlib.suppress(ConnectionError):
            answer = plain.recv(100)
            assert not answer.startswith(b"\x20"), "no CONNACK"


def test_other_peoples_clients_read_and_write_there(broker: EmbeddedBroker, made: Certificates) -> None:
    user, password = broker.login
    where = ["-h", "127.0.0.1", "-p", str(port_of(broker)), "--cafile", str(made.ca), "-u", user, "-P", password]
    told = ["-t", "streamer/x", "-m", "hello", "-r", "-q", "1"]
    subprocess.run([program("mosquitto_pub"), *where, *told], check=True, timeout=20)
    command = [program("mosquitto_sub"), *where, "-t", "streamer/x", "-C", "1", "-W", "5", "-F", "%p"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == "hello\n"


def test_connections_that_never_agree_on_tls_keep_nobody_out(broker: EmbeddedBroker, made: Certificates) -> None:
    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port_of(broker)), 5))
            for _ in range(MAX_CONNECTIONS + 20)
        ]
        assert outcome(settings(broker, made)) == "online"
        began = time.monotonic()
        silent[-1].settimeout(CONNECT_S + 5)
        with contextlib.suppress(ConnectionError):
            assert silent[-1].recv(1) == b""
        assert time.monotonic() - began < CONNECT_S + 3


@pytest.mark.slow
def test_the_command_makes_a_password_shows_it_once_and_serves_with_it(made: Certificates, tmp_path: Path) -> None:
    port = free_port()
    arguments = ["broker", "--bind", "127.0.0.1", "--port", str(port), "--open-to-network"]
    arguments += ["--tls-cert", str(made.server_cert), "--tls-key", str(made.server_key)]
    private = dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"), str(tmp_path))
    shown = []
    for _ in range(2):
        command = subprocess.Popen(
            [sys.executable, "-m", "streamer", *arguments],
            env=os.environ | private, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert command.stdout is not None
        assert command.stderr is not None
        text: list[str] = []
        reader = threading.Thread(target=text.extend, args=(command.stderr,))
        reader.start()
        assert f"mqtts://127.0.0.1:{port}" in command.stdout.readline()
        password = (tmp_path / "streamer" / "broker-password").read_text().strip()
        login = {"username": "streamer", "password": password}
        assert outcome(MqttSettings(url=f"mqtts://127.0.0.1:{port}", node="n", ca_file=made.ca, **login)) == "online"
        command.terminate()
        assert command.wait(20) == 0
        reader.join(5)
        command.stdout.close()
        command.stderr.close()
        shown.append("".join(text))
    assert shown[0].count(password) == 1
    assert password not in shown[1]
    assert "unencrypted" not in shown[0]
    assert (tmp_path / "streamer" / "broker-password").stat().st_mode & 0o077 == 0
