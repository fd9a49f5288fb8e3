"""Everything rude at one broker at once: `python -m tests.chaos.rude_clients PORT SECONDS`.

In a process of its own, so that it does not slow down those who watch. It prints what it did as one line of JSON.
"""

import contextlib
import json
import select
import socket
import sys
import threading
import time
from collections import Counter

from tests.publish.raw_client import RawClient, publish_packet, subscribe_packet

SILENT = 20
HALF_OPEN = 100
LARGE = 100 * 1024 * 1024
_BACK_S = 0.5  # whoever was thrown out comes again


class Rudeness:
    """Threads that go on until `stop` is set."""

    def __init__(self, port: int) -> None:
        self.stop = threading.Event()
        self.done: Counter[str] = Counter()
        self._port = port
        tasks = [self._be_silent, self._stay_half_open, self._send_large]
        tasks += [lambda qos=qos: self._flood(qos) for qos in (0, 1)]  # type: ignore[misc]
        self._threads = [threading.Thread(target=task, daemon=True) for task in tasks]

    def run(self, seconds: float) -> None:
        for thread in self._threads:
            thread.start()
        self.stop.wait(seconds)
        self.stop.set()
        for thread in self._threads:
            thread.join(10.0)

    def _be_silent(self) -> None:
        """Subscribers of both qualities, with and without a keepalive, that never read, ping or acknowledge."""
        clients: list[RawClient | None] = [None] * SILENT
        while not self.stop.wait(_BACK_S):
            for index, client in enumerate(clients):
                if client is None or _is_over(client.socket):
                    clients[index] = self._silent(index)

    def _silent(self, index: int) -> RawClient | None:
        try:
            client = RawClient(self._port, keepalive_s=(0, 20)[index % 2], timeout_s=2.0)
        except OSError:
            return None
        if client.connack == 0:
            client.send(subscribe_packet("#", qos=index // 2 % 2))
            self.done["silent subscribers"] += 1
        return client

    def _stay_half_open(self) -> None:
        """Connections that never say CONNECT."""
        connections: list[socket.socket | None] = [None] * HALF_OPEN
        while not self.stop.wait(_BACK_S):
            for index, connection in enumerate(connections):
                if connection is None or _is_over(connection):
                    with contextlib.suppress(OSError):
                        connections[index] = socket.create_connection(("127.0.0.1", self._port), 2.0)
                        self.done["half-open connections"] += 1

    def _flood(self, qos: int) -> None:
        """Messages as fast as they are taken."""
        packets = publish_packet("flood/x", bytes(2_000), qos=qos) * 20
        while not self.stop.is_set():
            with contextlib.suppress(OSError):
                client = RawClient(self._port, keepalive_s=0, timeout_s=5.0)
                client.socket.settimeout(1.0)
                while not self.stop.is_set():
                    self.done["messages"] += self._send_some(client, packets) * 20
            self.stop.wait(_BACK_S)

    def _send_some(self, client: RawClient, packets: bytes) -> bool:
        """Send, while reading whatever comes, so that the broker never waits for us; return whether it went."""
        left = memoryview(packets)
        while left and not self.stop.is_set():
            readable, writable, _ = select.select([client.socket], [client.socket], [], 1.0)
            if readable and not client.socket.recv(65_536):
                raise ConnectionError("closed")
            if writable:
                left = left[client.socket.send(left) :]
        return not left

    def _send_large(self) -> None:
        """A message of 100 MB every second."""
        large = publish_packet("flood/large", bytes(LARGE), retain=True)
        while not self.stop.wait(1.0):
            with contextlib.suppress(OSError):
                client = RawClient(self._port, timeout_s=5.0)
                self.done["messages of 100 MB"] += 1
                client.send(large)


def _is_over(connection: socket.socket) -> bool:
    """Whether the other end has closed, found out without reading."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


def main() -> None:
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    rudeness = Rudeness(port)
    began = time.monotonic()
    rudeness.run(seconds)
    print(json.dumps({"seconds": round(time.monotonic() - began, 1), **rudeness.done}))


if __name__ == "__main__":
    main()
