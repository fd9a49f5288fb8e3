"""From the [mqtt] table to what the publisher and the subscriber take."""

from pathlib import Path

from streamer.config import MqttConfig
from streamer.publish.mqtt_settings import MqttSettings
from streamer.publish.topics import default_node


def mqtt_settings(table: MqttConfig, url: str) -> MqttSettings:
    """The settings for the broker at `url`.

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
