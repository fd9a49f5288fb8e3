"""Checking that a broker accepts a connection."""

import pytest

from streamer.errors import StreamerError
from streamer.publish.check import check_connection
from streamer.publish.mqtt_settings import MqttSettings
from tests.publish.embedded import started
from tests.support.real_broker import free_port


def test_a_broker_that_accepts_the_connection_passes() -> None:
    with started() as broker:
        check_connection(MqttSettings(url=broker.url))


def test_a_broker_that_is_not_there_is_refused_with_the_cure() -> None:
    url = f"mqtt://user:secret@127.0.0.1:{free_port()}"
    with pytest.raises(StreamerError, match=r"Nothing listens at mqtt://127\.0\.0\.1:\d+; start the broker") as caught:
        check_connection(MqttSettings(url=url))
    assert "secret" not in str(caught.value)
