"""Check that the broker accepts a connection."""

import asyncio

import aiomqtt

from streamer.errors import StreamerError
from streamer.publish.link_errors import explain
from streamer.publish.mqtt_settings import MqttSettings

TIMEOUT_S = 5.0


def check_connection(settings: MqttSettings) -> None:
    """Connect, log in and disconnect; nothing is published.

    Raises:
        StreamerError: the broker cannot be reached or refuses the connection; the message names the cure.
    """
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(_connect(settings))


async def _connect(settings: MqttSettings) -> None:
    broker = settings.broker
    try:
        async with aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            identifier=f"{settings.client_id}-probe",
            tls_context=settings.tls_context(),
            timeout=TIMEOUT_S,
        ):
            return
    except (aiomqtt.MqttError, OSError) as error:
        raise StreamerError(explain(error, broker)) from error
