#!/usr/bin/env bash
# What amqtt's broker makes of a message's quality of service, and of a keepalive.
#
# Guess:     a message arrives with the lower of two qualities, the sender's and the subscription's (MQTT 3.1.1, 3.8.4),
#            and a client that is silent for 1.5 times its keepalive is disconnected (3.1.2.10).
# Behaviour: a message arrives with the subscription's quality, whatever its sender's: telemetry of QoS 0 is kept in
#            flight, numbered and waited for, for 5 s a message. A client that is silent stays connected.
# Versions:  amqtt 0.12.1, Python 3.11.
# Seen:      subscribed with QoS 1, published with QoS 0: arrives with QoS 1
#            keepalive 1 s, silent for 5 s: connected
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet amqtt==0.12.1
cd "$folder"
cat > delivery.py <<'PYTHON'
import asyncio
import logging
import socket
import struct

from amqtt.broker import Broker

logging.disable(logging.CRITICAL)
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    PORT = probe.getsockname()[1]
CONFIG = {
    "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{PORT}"}},
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}


def text(value: str) -> bytes:
    return struct.pack("!H", len(value)) + value.encode()


class Client:
    async def connect(self, keepalive_s: int) -> "Client":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", PORT)
        await self.send(0x10, text("MQTT") + b"\4\2" + struct.pack("!H", keepalive_s) + text(""))
        assert await self.packet() == (0x20, b"\0\0")
        return self

    async def send(self, first: int, body: bytes = b"") -> None:
        self.writer.write(bytes([first, len(body)]) + body)
        await self.writer.drain()

    async def packet(self, within_s: float = 5.0) -> tuple[int, bytes] | None:
        """The next packet; None where none comes. No packet here is longer than 127 bytes."""
        try:
            first, length = await asyncio.wait_for(self.reader.readexactly(2), within_s)
        except (TimeoutError, asyncio.IncompleteReadError):
            return None
        return first, await self.reader.readexactly(length)


async def main() -> None:
    broker = Broker(CONFIG)
    await broker.start()
    subscriber = await Client().connect(60)
    await subscriber.send(0x82, b"\0\1" + text("x/#") + b"\1")
    assert (await subscriber.packet())[0] == 0x90

    sender = await Client().connect(60)
    await sender.send(0x30, text("x/zero") + b"hello")
    first, body = await subscriber.packet()
    await subscriber.send(0x40, body[8:10])
    print(f"subscribed with QoS 1, published with QoS 0: arrives with QoS {first >> 1 & 3}")

    silent = await Client().connect(1)
    await asyncio.sleep(5)
    await silent.send(0xC0)
    print(f"keepalive 1 s, silent for 5 s: {'connected' if await silent.packet() else 'disconnected'}")
    await broker.shutdown()


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" delivery.py | tee output.txt
diff output.txt - <<'SEEN'
subscribed with QoS 1, published with QoS 0: arrives with QoS 1
keepalive 1 s, silent for 5 s: connected
SEEN
echo "as seen"
