"""Open the MQTT publisher that the `[mqtt]` table of config.toml describes."""

from contextlib import ExitStack
from pathlib import Path

from streamer.config import MqttConfig
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import MqttSettings
from streamer.publish.topics import default_node


def open_mqtt(table: MqttConfig, stack: ExitStack) -> MqttPublisher | None:
    """Return the publisher to the broker at `table.url`, not started yet; None where the url is `off`.

    Args:
        table: with `embedded`, a broker is started in this process.
        stack: stops that broker.

    Raises:
        UsageError: the URL, a topic part or a certificate cannot be used.
        StreamerError: no port is free for the embedded broker.
    """
    url = table.url
    if url == "off":
        return None
    if url == "embedded":
        from streamer.publish.broker import EmbeddedBroker

        broker = EmbeddedBroker()
        url = broker.start()
        stack.callback(broker.stop)
    return MqttPublisher(mqtt_settings(table, url))


def mqtt_settings(table: MqttConfig, url: str) -> MqttSettings:
    """Return the settings for the broker at `url`.

    Raises:
        UsageError: the URL, a topic part or a certificate cannot be used.
    """

    def path(text: str) -> Path | None:
        return Path(text) if text else None

    return MqttSettings(
        url=url,
        prefix=table.prefix,
        node=default_node() if table.node == "auto" else table.node,
        username=table.username or None,
        password=table.password.get_secret_value() or None,
        ca_file=path(table.ca_file),
        client_cert=path(table.client_cert),
        client_key=path(table.client_key),
        window_every=table.window_every,
        state_every_s=table.heartbeat_s,
        health_every_s=table.health_s,
    )
