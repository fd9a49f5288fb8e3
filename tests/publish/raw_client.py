"""A client that speaks MQTT byte by byte, so that it can be as rude as a test needs."""

import socket
import struct

PINGREQ = b"\xc0\x00"


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(data)) + data


def packet(first: int, body: bytes) -> bytes:
    length, digits = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([first]) + bytes(digits) + body


def connect_packet(
    client_id: str = "",
    *,
    login: tuple[str, str] | None = None,
    keepalive_s: int = 60,
    will: tuple[str, str] | None = None,
    level: int = 4,
    clean: bool = True,
) -> bytes:
    flags = (0xC0 if login else 0) | (0x24 if will else 0) | (0x02 if clean else 0)
    body = text("MQTT") + bytes([level, flags]) + struct.pack("!H", keepalive_s) + text(client_id)
    for part in (*(will or ()), *(login or ())):
        body += text(part)
    return packet(0x10, body)


def publish_packet(topic: str, payload: bytes, *, qos: int = 0, retain: bool = False, number: int = 1) -> bytes:
    body = text(topic) + (struct.pack("!H", number) if qos else b"") + payload
    return packet(0x30 | qos << 1 | retain, body)


def subscribe_packet(*filters: str, qos: int = 0) -> bytes:
    return packet(0x82, struct.pack("!H", 1) + b"".join(text(f) + bytes([qos]) for f in filters))


class RawClient:
    """One connection; `connack` is the broker's answer to the CONNECT, None where it closed."""

    def __init__(self, port: int, *, timeout_s: float = 5.0, hello: bytes | None = None, **connect: object) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._buffer = b""
        self.connack: int | None = None
        if hello is None:
            self.socket.sendall(connect_packet(**connect))  # type: ignore[arg-type]
            answer = self.packet()
            self.connack = answer[3] if answer else None
        else:
            self.socket.sendall(hello)

    def send(self, *packets: bytes) -> None:
        self.socket.sendall(b"".join(packets))

    def packet(self) -> bytes | None:
        """The next packet, or None where the broker closed the connection."""
        while True:
            length, shift, at = 0, 0, 1
            while at < len(self._buffer):
                digit = self._buffer[at]
                length |= (digit & 0x7F) << shift
                shift += 7
                at += 1
                if digit < 0x80:
                    if len(self._buffer) >= at + length:
                        whole, self._buffer = self._buffer[: at + length], self._buffer[at + length :]
                        return whole
                    break
            try:
                more = self.socket.recv(65_536)
            except ConnectionError:
                return None
            if not more:
                return None
            self._buffer += more

    def is_closed_by_the_broker(self) -> bool:
        while self.packet() is not None:
            pass
        return True

    def subscribe(self, *filters: str, qos: int = 0) -> list[int]:
        """Subscribe, and return the broker's codes; messages that come before are dropped."""
        self.send(subscribe_packet(*filters, qos=qos))
        while (answer := self.packet()) is not None:
            if answer[0] == 0x90:
                return list(answer[4:])
        return []

    def payloads(self, count: int) -> list[bytes]:
        """The payloads of the next `count` messages."""
        found: list[bytes] = []
        while len(found) < count and (got := self.packet()) is not None:
            if got[0] >> 4 == 3:
                found.append(message(got)[1])
        return found

    def close(self) -> None:
        self.socket.close()

    __del__ = close  # a test that is over forgets its clients


def message(got: bytes) -> tuple[str, bytes]:
    """Topic and payload of a PUBLISH."""
    at = 1
    while got[at] >= 0x80:
        at += 1
    at += 1
    length = struct.unpack_from("!H", got, at)[0]
    topic = got[at + 2 : at + 2 + length].decode()
    return topic, got[at + 2 + length + (2 if got[0] & 6 else 0) :]


def raw_retained(port: int, topic_filter: str = "#", login: tuple[str, str] | None = None) -> dict[str, bytes]:
    """Everything that is retained below `topic_filter`."""
    client = RawClient(port, login=login)
    client.send(subscribe_packet(topic_filter), PINGREQ)
    client.socket.settimeout(0.5)
    found: dict[str, bytes] = {}
    try:
        while (got := client.packet()) is not None:
            if got[0] >> 4 == 3 and got[0] & 1:
                topic, payload = message(got)
                found[topic] = payload
    except TimeoutError:
        pass
    client.close()
    return found
