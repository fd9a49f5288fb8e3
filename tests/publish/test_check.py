"""Checking that a broker accepts a connection and brings messages back."""

import socket
from pathlib import Path

import pytest

from streamer.errors import StreamerError
from streamer.publish.check import check_connection
from streamer.publish.mqtt_settings import MqttSettings
from tests.publish.embedded import started
from tests.support.real_broker import Mosquitto, free_port


def test_a_broker_that_accepts_the_connection_passes() -> None:
    with started() as broker:
        check_connection(MqttSettings(url=broker.url))


def test_a_broker_that_is_not_there_is_refused_with_the_cure() -> None:
    url = f"mqtt://user:secret@127.0.0.1:{free_port()}"
    with pytest.raises(StreamerError, match=r"Nothing listens at mqtt://127\.0\.0\.1:\d+; start the broker") as caught:
        check_connection(MqttSettings(url=url))
    assert "secret" not in str(caught.value)


def test_a_broker_that_does_not_answer_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.publish.check.TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(StreamerError, match="does not answer"):
            check_connection(MqttSettings(url=f"mqtt://127.0.0.1:{server.getsockname()[1]}"))
        connection, _ = server.accept()
        with connection:
            connection.settimeout(5.0)
            while connection.recv(1_000):
                pass


@pytest.mark.real
@pytest.mark.parametrize("acl", ["topic write streamer/#", "topic read streamer/#"])
def test_an_access_list_that_denies_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acl: str) -> None:
    broker = Mosquitto(tmp_path, acl=f"{acl}\ntopic readwrite other/#\n").start()
    try:
        check_connection(MqttSettings(url=broker.url, prefix="other", node="n"))
        monkeypatch.setattr("streamer.publish.check.ROUND_TRIP_S", 0.5)  # what is denied never comes
        with pytest.raises(StreamerError, match=r"does not bring back .* write and read streamer/n/#"):
            check_connection(MqttSettings(url=broker.url, node="n"))
    finally:
        broker.stop()
