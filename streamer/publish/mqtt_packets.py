"""Read MQTT 3.1.1 packets off a connection and check their form, before anything else sees them."""

import asyncio
from dataclasses import dataclass

CONNECT, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 3, 4, 5, 6, 7
SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT = 8, 10, 12, 14

_ACKNOWLEDGEMENTS = {PUBACK: 0, PUBREC: 0, PUBREL: 2, PUBCOMP: 0}  # type → flags; each holds a packet id alone
_EMPTY = {PINGREQ: 0, DISCONNECT: 0}
_LEVEL_3_1_1 = 4
# Of all packets that a client may send, but PUBLISH, whose flags vary.
_FIRST_BYTES = {
    kind << 4 | flags
    for kind, flags in (_ACKNOWLEDGEMENTS | _EMPTY | {CONNECT: 0, SUBSCRIBE: 2, UNSUBSCRIBE: 2}).items()
}


class PacketError(Exception):
    """What came is no packet that a client may send; the connection is not worth keeping."""


class ProtocolLevelError(PacketError):
    """A CONNECT of another version of MQTT."""


@dataclass(frozen=True, slots=True)
class Connect:
    """The parts of a CONNECT that decide whether its sender is let in."""

    client_id: str
    keepalive_s: int
    will_topic: str | None
    username: str | None
    password: bytes | None


def kind_of(packet: bytes) -> int:
    """Return the packet's type: `CONNECT`, `PUBLISH`, …"""
    return packet[0] >> 4


async def read_packet(reader: asyncio.StreamReader, max_bytes: int) -> bytes:
    """Return the next whole packet.

    Raises:
        PacketError: it is longer than `max_bytes`, its length is not readable, or no client sends such a packet.
        asyncio.IncompleteReadError: the connection ended.
    """
    header = bytearray(await reader.readexactly(1))
    if header[0] >> 4 != PUBLISH and header[0] not in _FIRST_BYTES:
        raise PacketError(f"a packet that begins with {header[0]:#04x}")
    length = 0
    for shift in (0, 7, 14, 21):
        digit = (await reader.readexactly(1))[0]
        header.append(digit)
        length |= (digit & 0x7F) << shift
        if digit < 0x80:
            break
    else:
        raise PacketError("a length of more than four bytes")
    if len(header) + length > max_bytes:
        raise PacketError(f"a packet of {length} bytes, more than {max_bytes}")
    return bytes(header) + await reader.readexactly(length)


def parse_connect(packet: bytes) -> Connect:
    """Return what a CONNECT says.

    Raises:
        ProtocolLevelError: it is of another version than 3.1.1.
        PacketError: it is no well-formed CONNECT.
    """
    if kind_of(packet) != CONNECT:
        raise PacketError("no CONNECT")
    body = _Fields(packet)
    if body.text() != "MQTT" or body.byte() != _LEVEL_3_1_1:
        raise ProtocolLevelError("another version than MQTT 3.1.1")
    flags = body.byte()
    has_will, has_user, has_password = bool(flags & 0x04), bool(flags & 0x80), bool(flags & 0x40)
    wrong_will = flags & 0x38 if not has_will else (flags & 0x18) == 0x18
    if flags & 0x01 or wrong_will or (has_password and not has_user):
        raise PacketError("a CONNECT with impossible flags")
    keepalive_s = body.number()
    client_id = body.text()
    if not client_id and not flags & 0x02:
        raise PacketError("a session to be kept, without a client id")
    will_topic = body.text() if has_will else None
    if has_will:
        body.data()
    username = body.text() if has_user else None
    password = body.data() if has_password else None
    body.end()
    return Connect(client_id, keepalive_s, will_topic, username, password)


def for_one_session(packet: bytes, client_id: str) -> bytes:
    """Return the well-formed CONNECT `packet` with a clean session, no keepalive, and `client_id` where it has none.

    amqtt then keeps nothing for a client that is away, and runs no timer of its own, which ours replaces.
    """
    start = _Fields(packet).offset
    body = bytearray(packet[start:])
    body[7] |= 0x02  # flags, behind the protocol's name (6 bytes) and level
    body[8:10] = b"\0\0"
    if body[10:12] == b"\0\0":
        body[10:12] = len(client_id.encode()).to_bytes(2, "big") + client_id.encode()
    return packet[:1] + _length(len(body)) + bytes(body)


def _length(count: int) -> bytes:
    digits = bytearray()
    while count >= 0x80:
        digits.append(count & 0x7F | 0x80)
        count >>= 7
    digits.append(count)
    return bytes(digits)


def check_packet(packet: bytes) -> None:
    """Check that `packet`, which `read_packet` read after the CONNECT, ends where its fields end.

    A parser that trusts the fields would read what is left over as a packet of its own, which nobody has checked.

    Raises:
        PacketError: it is not.
    """
    kind = kind_of(packet)
    body = _Fields(packet)
    if kind == PUBLISH:
        qos, topic = packet[0] >> 1 & 3, body.text()
        if qos == 3 or not topic or topic.startswith("$") or set(topic) & {"+", "#"}:
            raise PacketError("a PUBLISH with an impossible topic or quality of service")
        if qos and body.number() == 0:
            raise PacketError("a PUBLISH without an id")
        return
    if kind in _ACKNOWLEDGEMENTS:
        body.number()
    elif kind in (SUBSCRIBE, UNSUBSCRIBE):
        body.number()
        while True:
            body.text()
            if kind == SUBSCRIBE and body.byte() > 2:
                raise PacketError("a SUBSCRIBE with an impossible quality of service")
            if body.at_end:
                break
    elif kind == CONNECT:
        raise PacketError("a second CONNECT")
    body.end()


def packet_id(packet: bytes) -> int:
    """Return the id of the well-formed acknowledgement, or PUBLISH above QoS 0, `packet`."""
    body = _Fields(packet)
    if kind_of(packet) == PUBLISH:
        body.text()
    return body.number()


class _Fields:
    """Reads the fields behind a packet's fixed header, one after the other."""

    def __init__(self, packet: bytes) -> None:
        self._packet = packet
        self.offset = 1
        while packet[self.offset] >= 0x80:
            self.offset += 1
        self.offset += 1

    @property
    def at_end(self) -> bool:
        return self.offset == len(self._packet)

    def end(self) -> None:
        if not self.at_end:
            raise PacketError("a packet with something behind its last field")

    def byte(self) -> int:
        return self._take(1)[0]

    def number(self) -> int:
        return int.from_bytes(self._take(2), "big")

    def data(self) -> bytes:
        return self._take(self.number())

    def text(self) -> str:
        try:
            text = self.data().decode()
        except UnicodeDecodeError:
            raise PacketError("text that is not UTF-8") from None
        if "\0" in text:
            raise PacketError("text with a NUL")
        return text

    def _take(self, count: int) -> bytes:
        piece = self._packet[self.offset : self.offset + count]
        if len(piece) != count:
            raise PacketError("a packet shorter than its fields")
        self.offset += count
        return piece
