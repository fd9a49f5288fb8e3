"""The embedded broker, with the publisher as a client and with Mosquitto's."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from streamer.errors import StreamerError, UsageError
from streamer.events import from_json, to_json
from streamer.publish.broker import BrokerOptions, EmbeddedBroker
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import MqttSettings
from tests.publish.embedded import QUICK, port_of, publish_one, started
from tests.publish.raw_client import raw_retained
from tests.support.event_samples import INFO, number_of, state, transition, window
from tests.support.real_broker import Listener, eventually, free_port, retained

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.real
def test_mosquittos_client_receives_every_event() -> None:
    with started() as broker:
        out = MqttPublisher(MqttSettings(url=broker.url, node="n"), QUICK)
        with contextlib.closing(Listener(port_of(broker), ["streamer/#"], qos=1)) as listener, contextlib.closing(out):
            out.start()
            out.publish(INFO)
            for number in range(300):
                out.publish(transition(number))
            out.publish(window())
            out.publish(state())
            eventually(lambda: len(listener.payloads("/transition")) == 300 and listener.payloads("/state"))
            assert [len(listener.payloads(kind)) for kind in ("/info", "/window", "/state")] == [1, 1, 1]
            received = [number_of(from_json(payload)) for payload in listener.payloads("/transition")]
            assert received == list(range(300))
            assert out.stats().shed == 0
        assert retained(port_of(broker), "streamer/n/info") == to_json(INFO)
        assert retained(port_of(broker), "streamer/n/availability") == "offline"


PROGRAM = """
import sys, time
sys.path[:0] = {paths}
from tests.publish.embedded import QUICK, port_of, publish_one, started
from tests.publish.raw_client import raw_retained
from tests.support.event_samples import transition
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import MqttSettings
out = MqttPublisher(MqttSettings(url={url!r}, node="n"))
out.start()
out.publish(transition(0))
while not out.stats().sent:
    time.sleep(0.02)
print("sent", flush=True)
time.sleep(60)
"""


@pytest.mark.real
def test_a_killed_publisher_is_offline() -> None:
    with started() as broker:
        code = PROGRAM.format(paths=[str(REPOSITORY)], url=broker.url)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"sent\n"
        assert retained(port_of(broker), "streamer/n/availability") == "online"
        process.kill()
        process.wait(60)
        process.stdout.close()
        eventually(lambda: retained(port_of(broker), "streamer/n/availability") == "offline")


def test_a_taken_port_means_the_next_and_it_says_which() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started(port=port) as broker:
            assert port < port_of(broker) < port + 100


def test_a_port_is_free_again_after_the_end() -> None:
    port = free_port()
    for _ in range(3):
        with started(port=port) as broker:
            assert port_of(broker) == port
            publish_one(broker.url)


def test_it_listens_on_loopback_only() -> None:
    with started() as broker, socket.socket() as other:
        other.bind(("127.0.0.2", port_of(broker)))  # free there, since it does not listen on every address


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python knows no IPv6")
def test_ipv6_loopback_works_where_there_is_one() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with started(bind="::1") as broker:
        assert broker.url.startswith("mqtt://[::1]:")
        publish_one(broker.url)


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.0.2.1"])
def test_the_network_is_let_in_only_with_both_options(bind: str) -> None:
    with pytest.raises(UsageError, match="demands a password"):
        BrokerOptions(bind)
    BrokerOptions(bind, open_to_network=True)


def test_open_to_the_network_it_is_still_found_by_loopback() -> None:
    with started(bind="0.0.0.0", open_to_network=True) as broker:
        assert broker.url.startswith("mqtt://127.0.0.1:")
        publish_one(broker.url, broker.login)


@pytest.mark.parametrize(("bind", "port"), [("localhost", 1883), ("", 1883), ("127.0.0.1", 0), ("127.0.0.1", 65_536)])
def test_an_impossible_place_is_refused(bind: str, port: int) -> None:
    with pytest.raises(UsageError, match="cannot listen"):
        BrokerOptions(bind, port)


def test_an_address_of_another_machine_is_named() -> None:
    broker = EmbeddedBroker(BrokerOptions("192.0.2.1", open_to_network=True))
    with pytest.raises(StreamerError, match=r"192\.0\.2\.1"):
        broker.start()
    broker.stop()
    assert "broker" not in [thread.name for thread in threading.enumerate()]


def test_the_broker_logs_and_prints_nothing(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with started() as broker:
        publish_one(broker.url)
        with socket.create_connection(("127.0.0.1", port_of(broker))) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            publish_one(broker.url)
        publish_one(broker.url)
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


def test_a_killed_broker_is_started_again_and_told_everything_anew() -> None:
    with started() as broker:
        out = MqttPublisher(MqttSettings(url=broker.url, node="n"), QUICK)
        with contextlib.closing(out):
            out.start()
            out.publish(INFO)
            out.publish(transition(0))
            eventually(lambda: out.stats().sent >= 1)
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGKILL)
            out.publish(transition(1))
            eventually(lambda: broker.restarts == 1 and out.stats().queued == 0)
            assert sorted(raw_retained(port_of(broker))) == ["streamer/n/availability", "streamer/n/info"]


def test_its_process_ends_with_the_program_and_never_loads_torch() -> None:
    code = (
        f"import sys, os; from streamer.publish.broker import *; b = EmbeddedBroker(BrokerOptions(port={free_port()}))"
        "; b.start(); print(b.pid, 'torch' in sys.modules, flush=True); os._exit(9)"
    )
    program = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pid, torch = program.stdout.split()
    assert torch == "False"
    eventually(lambda: not psutil.pid_exists(int(pid)), 10)


def test_stopping_twice_and_before_the_start_is_safe() -> None:
    broker = EmbeddedBroker()
    broker.stop()
    with started() as broker:
        broker.stop()
    assert "broker" not in [thread.name for thread in threading.enumerate()]
