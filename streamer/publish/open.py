"""Open the publishers that the tables of config.toml describe: MQTT, metrics."""

from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.config import MetricsConfig, MqttConfig
from streamer.errors import UsageError
from streamer.extras import install_command
from streamer.publish.listen import Listen
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.mqtt_settings import MqttSettings
from streamer.publish.topics import default_node

if TYPE_CHECKING:  # it loads prometheus_client, which is an extra
    from streamer.publish.metrics_server import MetricsServer


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


def open_metrics(table: MetricsConfig, mqtt: MqttPublisher | None) -> "MetricsServer | None":
    """Return the server of metrics, not started yet; None where it is `off`.

    Args:
        table: says where it listens.
        mqtt: has its counters served too; None: there is no broker.

    Raises:
        UsageError: that is no address, or prometheus-client is missing.
        StreamerError: the port is in use.
    """
    listen = metrics_listen(table)
    if listen is None:
        return None
    from streamer.publish.metrics_server import MetricsServer

    return MetricsServer(listen, mqtt.stats if mqtt else None)


def metrics_listen(table: MetricsConfig) -> Listen | None:
    """Return where the metrics are to be served; None where they are `off`.

    Raises:
        UsageError: that is no address, or prometheus-client is missing.
    """
    if table.listen == "off":
        return None
    listen = Listen.parse(table.listen, "metrics.listen")
    if find_spec("prometheus_client") is None:
        raise UsageError(f"Metrics need prometheus-client, which is not installed; {install_command('metrics')}.")
    return listen
