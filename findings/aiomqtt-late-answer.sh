#!/usr/bin/env bash
# What is left of a connection to an MQTT broker that is slow to answer, or whose certificate is not trusted.
#
# Guess:     an `async with aiomqtt.Client(…)` that raised has closed its connection, and so has a paho-mqtt client whose
#            TLS handshake failed.
# Behaviour: where the broker accepts the connection and answers after the client's timeout, aiomqtt has raised
#            MqttError and the connection lives on: the broker's answer is taken, pings are sent, and the broker has a
#            client under that id that no code of the program can reach. Leaving the client by hand
#            (`__aexit__(None, None, None)`) closes it. Where the handshake fails, paho-mqtt leaves the TLS socket to the
#            garbage collector (ResourceWarning).
# Versions:  aiomqtt 2.5.1, paho-mqtt 2.2.0, Python 3.11.
# Seen:      no answer within 0.5 s: MqttError
#            the answer after 1 s: taken, then pinged
#            left by hand: the connection is closed
#            untrusted certificate: SSLCertVerificationError, 1 socket left unclosed
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet aiomqtt==2.5.1 paho-mqtt==2.2.0 trustme==1.2.1
cd "$folder"
cat > late.py <<'PYTHON'
import asyncio
import gc
import logging
import socket
import ssl
import threading
import warnings

import aiomqtt
import paho.mqtt.client as paho
import trustme

logging.disable(logging.CRITICAL)


async def slow_broker(seen: list[str]) -> tuple[asyncio.Server, int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.read(1_000))[0] == 0x10  # CONNECT
        await asyncio.sleep(1.0)
        writer.write(b"\x20\x02\x00\x00")  # CONNACK: accepted
        while packet := await reader.read(1_000):
            if packet[0] == 0xC0:
                seen.append("pinged")
                writer.write(b"\xd0\x00")
        seen.append("closed")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def late_answer() -> None:
    seen: list[str] = []
    server, port = await slow_broker(seen)
    client = aiomqtt.Client("127.0.0.1", port, timeout=0.5, keepalive=2)
    try:
        async with client:
            print("no answer within 0.5 s: connected")
    except aiomqtt.MqttError as error:
        print(f"no answer within 0.5 s: {type(error).__name__}")
    await asyncio.sleep(8.0)  # four times its keepalive
    print(f"the answer after 1 s: {'taken, then pinged' if seen and set(seen) == {'pinged'} else seen}")
    client.timeout = 0.5
    try:
        await client.__aexit__(None, None, None)
    except aiomqtt.MqttError:
        pass
    await asyncio.sleep(0.5)
    print(f"left by hand: the connection is {'closed' if seen[-1] == 'closed' else 'open'}")
    server.close()


def untrusted() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        try:
            context.wrap_socket(connection, server_side=True)
        except ssl.SSLError:
            pass  # it is told that it is not trusted
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.tls_set()
        raised = "none"
        try:
            client.connect("127.0.0.1", server.getsockname()[1])
        except ssl.SSLError as error:
            raised = type(error).__name__
        thread.join()
        gc.collect()
    left = sum("SSLSocket" in str(one.message) and one.category is ResourceWarning for one in caught)
    print(f"untrusted certificate: {raised}, {left} socket left unclosed")


asyncio.run(late_answer())
untrusted()
PYTHON
"$folder/venv/bin/python" late.py | tee output.txt
diff output.txt - <<'SEEN'
no answer within 0.5 s: MqttError
the answer after 1 s: taken, then pinged
left by hand: the connection is closed
untrusted certificate: SSLCertVerificationError, 1 socket left unclosed
SEEN
echo "as seen"
