"""Open the publishers that the tables of config.toml describe: MQTT, metrics."""

import ipaddress
import logging
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.errors import UsageError
from streamer.extras import install_command
from streamer.publish.actions import Actions
from streamer.publish.listen import Listen
from streamer.publish.topics import default_node
from streamer.secret_files import read_password
from streamer.settings import MetricsConfig, MqttConfig

if TYPE_CHECKING:  # they load prometheus_client, which is an extra, and asyncio with paho, a tenth of a second
    from streamer.publish.metrics_server import MetricsServer
    from streamer.publish.mqtt import MqttPublisher
    from streamer.publish.mqtt_settings import MqttSettings

logger = logging.getLogger(__name__)


def open_mqtt(
    table: MqttConfig, stack: ExitStack, on_mute: Callable[[str, bool], None] | None = None
) -> "MqttPublisher | None":
    """Return the publisher to the broker at `table.url`, not started yet; None where the url is `off`.

    Args:
        table: with `embedded`, a broker is started, in a process of its own.
        stack: stops that broker.
        on_mute: gets what others ask on a stream's `mute/set`; None: nobody may ask.

    Raises:
        UsageError: the URL, a topic part, a password file or a certificate cannot be used.
        StreamerError: no port is free for the embedded broker.
    """
    url = table.url
    if url == "off":
        return None
    from streamer.publish.mqtt import MqttPublisher

    if url == "embedded":
        from streamer.publish.broker import BrokerOptions, EmbeddedBroker

        broker = EmbeddedBroker(BrokerOptions(access=table.embedded_access, prefix=table.prefix))
        url = broker.start()
        stack.callback(broker.stop)
        username, password = broker.login
        return MqttPublisher(mqtt_settings(table, url, username, password), on_mute=on_mute)
    return MqttPublisher(mqtt_settings(table, url), on_mute=on_mute)


def mqtt_settings(
    table: MqttConfig, url: str, username: str | None = None, password: str | None = None
) -> "MqttSettings":
    """Return the settings for the broker at `url`.

    Without any login, the secret of this user's embedded broker there is used, if there is one. A password that would
    travel unencrypted over a network is warned of.

    Raises:
        UsageError: the URL, a topic part, a password file or a certificate cannot be used.
    """

    from streamer.publish.broker_access import USERNAME
    from streamer.publish.broker_files import find_secret
    from streamer.publish.mqtt_settings import BrokerUrl, MqttSettings

    def path(text: str) -> Path | None:
        return Path(text) if text else None

    if username is None:
        username, password = table.username or None, table.password.get_secret_value() or None
        if password is None and table.password_file:
            password = read_password(table.password_file, "mqtt.password_file")
        broker = BrokerUrl.parse(url)
        if username is None and password is None and broker.username is None:
            secret = find_secret(broker)
            username, password = (None, None) if secret is None else (USERNAME, secret)
    settings = MqttSettings(
        url=url,
        prefix=table.prefix,
        node=default_node() if table.node == "auto" else table.node,
        username=username,
        password=password,
        ca_file=path(table.ca_file),
        client_cert=path(table.client_cert),
        client_key=path(table.client_key),
        window_every=table.window_every,
        state_every_s=table.heartbeat_s,
        health_every_s=table.health_s,
        discovery=table.discovery,
        discovery_prefix=table.discovery_prefix,
    )
    if settings.broker.password is not None and not settings.broker.tls and not is_loopback(settings.broker.host):
        logger.warning(
            "The password for %s travels over the network unencrypted; use mqtts:// where the broker has it.",
            settings.broker,
        )
    return settings


def open_metrics(
    table: MetricsConfig, mqtt: "MqttPublisher | None" = None, actions: Actions | None = None
) -> "MetricsServer | None":
    """Return the server of metrics, not started yet; None where it is `off`.

    Args:
        table: says where it listens.
        mqtt: has its counters served too; None: there is no broker.
        actions: likewise.

    Raises:
        UsageError: that is no address, or prometheus-client is missing.
        StreamerError: the port is in use.
    """
    listen = metrics_listen(table)
    if listen is None:
        return None
    from streamer.publish.metrics_server import MetricsServer

    return MetricsServer(listen, mqtt.stats if mqtt else None, actions.results if actions else None)


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


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine, by its name alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
