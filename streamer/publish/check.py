"""Check that the broker accepts a connection and brings messages back."""

import asyncio
import secrets

import aiomqtt

from streamer.errors import StreamerError
from streamer.publish.link import connected
from streamer.publish.link_errors import explain
from streamer.publish.mqtt_settings import MqttSettings

TIMEOUT_S = 5.0
ROUND_TRIP_S = 5.0  # for the message to come back


def check_connection(settings: MqttSettings) -> None:
    """Connect, log in, and send oneself a message: an access list that denies is not seen otherwise.

    Raises:
        StreamerError: the broker cannot be reached, refuses the connection, or does not bring the message back; the
        message names the cure.
    """
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(_connect(settings))


async def _connect(settings: MqttSettings) -> None:
    broker = settings.broker
    try:
        client = aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            identifier=f"{settings.client_id}-probe",
            tls_context=settings.tls_context(),
            timeout=TIMEOUT_S,
        )
        async with connected(client):
            await _round_trip(client, settings)
    except (aiomqtt.MqttError, OSError) as error:
        raise StreamerError(explain(error, broker)) from error


async def _round_trip(client: aiomqtt.Client, settings: MqttSettings) -> None:
    topic, token = settings.topics.check, secrets.token_hex(8)
    try:
        await client.subscribe(topic, qos=1)
        await client.publish(topic, token, qos=1)
        async with asyncio.timeout(ROUND_TRIP_S):
            async for message in client.messages:
                if message.payload == token.encode():
                    return
    except (aiomqtt.MqttError, TimeoutError) as error:
        whose = f"the user {settings.broker.username}" if settings.broker.username else "a client without a login"
        raise StreamerError(
            f"{settings.broker} accepts the connection, but does not bring back what is published on {topic}; let its "
            f"ACL allow {whose} to write and read {settings.prefix}/{settings.topics.node}/#."
        ) from error
