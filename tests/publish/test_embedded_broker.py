"""The broker in the box, with our own client and with Mosquitto's."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from streamer.errors import StreamerError, UsageError
from streamer.events import from_json, to_json
from streamer.publish.broker import EmbeddedBroker
from streamer.publish.broker_files import find_broker
from streamer.publish.link import Timing
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import BrokerUrl, MqttSettings
from tests.support.event_samples import INFO, number_of, state, transition, window
from tests.support.real_broker import Listener, eventually, free_port, retained

QUICK = Timing(first_retry_s=0.05, last_retry_s=0.2, answer_s=2.0, settle_s=1.5)
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, so that brokers of other programs are not found."""
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    return tmp_path / "streamer"


def started(**options: object) -> contextlib.AbstractContextManager[EmbeddedBroker]:
    broker = EmbeddedBroker(**{"port": free_port()} | options)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def running() -> Iterator[EmbeddedBroker]:
        try:
            broker.start()
            yield broker
        finally:
            broker.stop()

    return running()


def port_of(broker: EmbeddedBroker) -> int:
    return BrokerUrl.parse(broker.url).port


@pytest.mark.real
def test_mosquittos_client_hears_every_event_of_ours() -> None:
    with started() as broker:
        out = MqttPublisher(MqttSettings(url=broker.url, node="n"), QUICK)
        with contextlib.closing(Listener(port_of(broker), ["streamer/#"], qos=1)) as listener, contextlib.closing(out):
            out.start()
            out.publish(INFO)
            for number in range(300):
                out.publish(transition(number))
            out.publish(window())
            out.publish(state())
            eventually(lambda: len(listener.messages) == 300 + 4)
            heard = [number_of(from_json(payload)) for payload in listener.payloads("/transition")]
            assert heard == list(range(300))
            assert out.stats().shed == 0
        assert retained(port_of(broker), "streamer/n/info") == to_json(INFO)
        assert retained(port_of(broker), "streamer/n/availability") == "offline"


PROGRAM = """
import sys, time
sys.path[:0] = {paths}
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
        process.wait(5)
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


def publish_one(url: str) -> None:
    out = MqttPublisher(MqttSettings(url=url, node="n"), QUICK)
    with contextlib.closing(out):
        out.start()
        out.publish(transition(0))
        eventually(lambda: out.stats().sent == 1)


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
def test_the_network_is_let_in_only_when_asked_twice(bind: str) -> None:
    with pytest.raises(UsageError, match="without a password"):
        EmbeddedBroker(bind)
    EmbeddedBroker(bind, open_to_network=True)


def test_open_to_the_network_it_is_still_found_by_loopback() -> None:
    with started(bind="0.0.0.0", open_to_network=True) as broker:
        assert broker.url.startswith("mqtt://127.0.0.1:")
        publish_one(broker.url)


@pytest.mark.parametrize(("bind", "port"), [("localhost", 1883), ("", 1883), ("127.0.0.1", 0), ("127.0.0.1", 65_536)])
def test_an_impossible_place_is_refused(bind: str, port: int) -> None:
    with pytest.raises(UsageError, match="cannot listen"):
        EmbeddedBroker(bind, port)


def test_an_address_of_another_machine_is_named() -> None:
    broker = EmbeddedBroker("192.0.2.1", open_to_network=True)
    with pytest.raises(StreamerError, match=r"192\.0\.2\.1"):
        broker.start()
    broker.stop()
    assert "broker" not in [thread.name for thread in threading.enumerate()]


def test_the_newest_broker_that_answers_is_found(cache: Path) -> None:
    assert find_broker() is None
    with started() as older:
        assert find_broker() == older.url
        with started() as newer:
            for note in (cache / "brokers").iterdir():  # both may have been written within one tick of the file system
                age_s = 0 if str(port_of(newer)) in note.name else 60
                os.utime(note, (1e9 - age_s, 1e9 - age_s))
            assert find_broker() == newer.url
        assert find_broker() == older.url
    assert find_broker() is None
    assert list((cache / "brokers").iterdir()) == []


def write_note(cache: Path, text: str) -> Path:
    note = cache / "brokers" / "1-1.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(text)
    return note


def test_the_note_of_a_killed_broker_is_ignored_and_then_removed(cache: Path) -> None:
    note = write_note(cache, json.dumps({"url": f"mqtt://127.0.0.1:{free_port()}", "pid": 1}))
    assert find_broker() is None
    with started():
        assert not note.exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"pid": 1}', '{"url": 1}', '{"url": "http://x"}', "\xff"])
def test_a_damaged_note_is_ignored(cache: Path, text: str) -> None:
    write_note(cache, text)
    assert find_broker() is None


def test_another_program_on_the_port_of_a_killed_broker_is_not_taken_for_one(cache: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        write_note(cache, json.dumps({"url": f"mqtt://127.0.0.1:{server.getsockname()[1]}", "pid": 1}))
        assert find_broker() is None


def test_without_a_place_for_notes_it_works_all_the_same(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with started() as broker:
        publish_one(broker.url)
        assert find_broker() is None


def test_nothing_is_said_by_the_broker(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with started() as broker:
        publish_one(broker.url)
        with socket.create_connection(("127.0.0.1", port_of(broker))) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            publish_one(broker.url)
        publish_one(broker.url)
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


def test_stopping_twice_and_before_the_start_is_safe() -> None:
    broker = EmbeddedBroker()
    broker.stop()
    with started() as broker:
        broker.stop()
    assert "broker" not in [thread.name for thread in threading.enumerate()]
