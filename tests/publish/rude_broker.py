"""A broker that closes the connection, or does not answer, where its test says so."""

import socket
import threading
import time
from collections.abc import Callable

from tests.publish.raw_client import message

Rule = Callable[[str, bytes, int], bool]


class RudeBroker:
    """Acknowledges every message but those that `refuses(topic, payload, qos)` names: they end the connection.

    With `mute`, they are not answered instead. With `life_s`, every connection ends after so long.
    """

    def __init__(
        self, refuses: Rule = lambda topic, payload, qos: False, *, mute: bool = False, life_s: float | None = None
    ) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.connections = 0
        self._refuses, self._mute, self._life_s = refuses, mute, life_s
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._server.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def payloads(self, topic_end: str) -> list[bytes]:
        return [payload for topic, payload in list(self.taken) if topic.endswith(topic_end)]

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        end = None if self._life_s is None else time.monotonic() + self._life_s
        with connection, connection.makefile("rb") as stream:
            while (first := stream.read(1)) and (end is None or time.monotonic() < end):
                length = shift = 0
                while (digit := stream.read(1)[0]) >= 0x80:
                    length |= (digit & 0x7F) << shift
                    shift += 7
                body = stream.read(length | digit << shift)
                if not self._answer(connection, first[0], body):
                    return

    def _answer(self, connection: socket.socket, first: int, body: bytes) -> bool:
        kind, qos = first >> 4, first >> 1 & 3
        if kind == 1:
            connection.sendall(b"\x20\x02\x00\x00")
        elif kind == 12:
            connection.sendall(b"\xd0\x00")
        elif kind == 8:
            connection.sendall(b"\x90\x03" + body[:2] + b"\x00")
        elif kind == 14:
            return False
        elif kind == 3:
            topic, payload = message(bytes([first, 0]) + body)
            if self._refuses(topic, payload, qos):
                return self._mute
            self.taken.append((topic, payload))
            if qos:
                at = 2 + len(topic.encode())
                connection.sendall(b"\x40\x02" + body[at : at + 2])
        return True
