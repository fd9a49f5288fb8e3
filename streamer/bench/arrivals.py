"""Subscribe in a process of its own, like any other MQTT client: `python -m streamer.bench.arrivals URL FILTER`.

Prints `ready` once the broker has granted the subscription, then one line of JSON per message: the monotonic time of
its arrival (all processes of a machine share that clock), its topic, and its payload.
"""

import asyncio
import json
import sys
import time

import aiomqtt

from streamer.publish.mqtt_settings import BrokerUrl


async def print_arrivals(url: str, topic_filter: str) -> None:
    """Print every message with its arrival time, until the connection ends."""
    broker = BrokerUrl.parse(url)
    async with aiomqtt.Client(broker.host, broker.port) as client:
        await client.subscribe(topic_filter)
        print("ready", flush=True)
        async for message in client.messages:
            arrived_s = time.monotonic()
            payload = json.loads(message.payload if isinstance(message.payload, bytes) else b"null")
            print(json.dumps({"arrived_s": arrived_s, "topic": message.topic.value, "event": payload}), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:  # aiomqtt needs `add_reader`
        runner.run(print_arrivals(*sys.argv[1:]))
