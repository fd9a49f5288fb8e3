"""The embedded broker's listener: it lets clients in, one connection each, and bounds their number."""

import asyncio
import errno
import logging
import os
import secrets
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from streamer.errors import StreamerError
from streamer.publish.bounded_broker import LISTENER, BoundedBroker
from streamer.publish.broker_access import AccessRules, Role
from streamer.publish.broker_connection import MAX_READER_PACKET, PacketReader, PacketWriter
from streamer.publish.mqtt_packets import (
    Connect,
    PacketError,
    ProtocolLevelError,
    for_one_session,
    parse_connect,
    read_packet,
)

MAX_CONNECTIONS = 100
_FOR_THE_SECRET = 20  # of which only clients that know the secret get the last ones
CONNECT_S = 5.0  # from the connection to a whole CONNECT
_TAKE_OVER_S = 2.0  # for an earlier connection with the same client id to end
_STOP_S = 2.0
_BREATH_S = 0.05
_PORTS_TRIED = 100
_READ_BUFFER = 16 * 1024

# CONNACK of MQTT 3.1.1.
_WRONG_LEVEL, _FULL, _BAD_LOGIN, _NOT_ALLOWED = (bytes([0x20, 2, 0, code]) for code in (1, 3, 4, 5))

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Client:
    """A connection; `writer` is None until TLS is agreed on, `connect` until its CONNECT has come."""

    socket: socket.socket
    address: str
    task: asyncio.Task[None] | None = None
    writer: asyncio.StreamWriter | None = None
    connect: Connect | None = None
    role: Role | None = None

    def abort(self) -> None:
        """End the connection at once."""
        if self.writer is not None:
            self.writer.transport.abort()
        elif self.task is not None:
            self.task.cancel()


class BrokerServer:
    """Listens, and gives amqtt the connections that it lets in. Everything happens in one event loop."""

    def __init__(self, rules: AccessRules, say: Callable[[str], None], tls: ssl.SSLContext | None = None) -> None:
        self._rules = rules
        self._say = say
        self._tls = tls
        self._clients: dict[_Client, None] = {}  # in the order in which they came
        self._accepting: asyncio.Task[None] | None = None
        self._broker: BoundedBroker | None = None

    async def start(self, bind: str, first_port: int, ports: int = _PORTS_TRIED) -> int:
        """Listen on the first of `ports` ports that is free, and return it.

        Raises:
            StreamerError: none is free, or the address is not one of this machine.
        """
        self._broker = BoundedBroker(self._rules)
        await self._broker.start()
        last_port = min(first_port + ports - 1, 65_535)
        for port in range(first_port, last_port + 1):
            try:
                family = socket.AF_INET6 if ":" in bind else socket.AF_INET
                listener = socket.create_server((bind, port), family=family, backlog=MAX_CONNECTIONS)
            except OSError as error:
                # On Windows a port that the system reserves raises EACCES, not EADDRINUSE.
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    why = os.strerror(error.errno or 0)
                    raise StreamerError(
                        f"The broker cannot listen on {bind} ({why}); give an address of this machine."
                    ) from error
                continue
            self._accepting = asyncio.create_task(self._accept(listener))
            return port
        raise StreamerError(f"No port of {bind} from {first_port} to {last_port} is free; give another.")

    async def stop(self) -> None:
        """Disconnect everybody, within about two seconds."""
        if self._accepting is not None:
            self._accepting.cancel()
        for client in list(self._clients):
            client.abort()
        if self._broker is not None and self._accepting is not None:
            try:
                await asyncio.wait_for(self._broker.shutdown(), _STOP_S)
            except Exception as error:  # it ends anyway
                logger.debug("amqtt does not end in order: %r", error)
        for client in list(self._clients):
            if client.task is not None:
                client.task.cancel()

    async def _accept(self, listener: socket.socket) -> None:
        """Take connections one by one, so that they count from the first moment, before TLS is agreed on."""
        loop = asyncio.get_running_loop()
        with listener:
            listener.setblocking(False)
            while True:
                try:
                    connection, peer = await loop.sock_accept(listener)
                except OSError as error:  # it has left already, or there is no descriptor left
                    logger.debug("No connection: %r", error)
                    await asyncio.sleep(_BREATH_S)
                    continue
                if not self._make_room():
                    connection.close()
                    continue
                client = _Client(connection, f"{peer[0]}:{peer[1]}")
                self._clients[client] = None
                client.task = asyncio.create_task(self._serve(client))

    async def _open(self, client: _Client) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Agree on TLS, where the broker has it, and return the two directions of the connection."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(_READ_BUFFER)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, client.socket, ssl=self._tls, ssl_handshake_timeout=CONNECT_S if self._tls else None
        )
        client.writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        return reader, client.writer

    async def _serve(self, client: _Client) -> None:
        outgoing: PacketWriter | None = None
        try:
            _keep_probing(client.socket)
            reader, writer = await self._open(client)
            packet = await self._admit(client, reader)
            if packet is not None:
                outgoing = PacketWriter(writer, lambda what: self._tell(client, what))
                await self._pass_on(client, reader, outgoing, packet)
        except (PacketError, OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            logger.debug("%s: %r", client.address, error)
        except Exception as error:  # whatever one client sent must not affect the others
            logger.debug("A client of the embedded broker was dropped: %r", error)
        finally:
            self._clients.pop(client, None)
            if outgoing is not None:
                await outgoing.close()
            if client.writer is not None:
                client.writer.transport.abort()
            else:
                client.socket.close()

    async def _pass_on(
        self, client: _Client, reader: asyncio.StreamReader, outgoing: PacketWriter, packet: bytes
    ) -> None:
        assert self._broker is not None
        assert client.connect is not None
        assert client.role is not None
        broker = self._broker
        client_id = client.connect.client_id or f"anonymous-{secrets.token_hex(8)}"
        keepalive_s = client.connect.keepalive_s
        incoming = PacketReader(
            reader,
            for_one_session(packet, client_id),
            role=client.role,
            silence_s=1.5 * keepalive_s if keepalive_s else None,
            flow=broker.flow_of(client_id),
            outgoing=outgoing,
            say=lambda what: self._tell(client, what),
        )
        await broker.external_connected(incoming, outgoing, LISTENER)

    async def _admit(self, client: _Client, reader: asyncio.StreamReader) -> bytes | None:
        """Read the CONNECT and decide on it; return it, or None where the client was refused."""
        try:
            async with asyncio.timeout(CONNECT_S):
                packet = await read_packet(reader, MAX_READER_PACKET)
            connect = parse_connect(packet)
        except ProtocolLevelError:
            await self._refuse(client, _WRONG_LEVEL, "it speaks another version than MQTT 3.1.1")
            return None
        role = self._rules.role(connect.username, connect.password)
        if (refusal := self._refusal(connect, role)) is not None:
            await self._refuse(client, *refusal)
            return None
        if connect.client_id:
            await self._take_over(client, connect.client_id)
        client.connect, client.role = connect, role
        return packet

    def _refusal(self, connect: Connect, role: Role | None) -> tuple[bytes, str] | None:
        """Return the CONNACK and the reason where the client is not let in."""
        if role is None:
            code = _NOT_ALLOWED if connect.username is None else _BAD_LOGIN
            return code, "its login is not the broker's"
        if role is Role.READER and connect.will_topic is not None:
            return _NOT_ALLOWED, "a will is a message, and needs the broker's secret"
        readers = sum(client.role is Role.READER for client in self._clients)
        if role is Role.READER and readers >= MAX_CONNECTIONS - _FOR_THE_SECRET:
            return _FULL, "too many clients are connected"
        return None

    async def _refuse(self, client: _Client, connack: bytes, why: str) -> None:
        self._tell(client, f"was refused: {why}.")
        assert client.writer is not None
        client.writer.write(connack)
        async with asyncio.timeout(CONNECT_S):
            await client.writer.drain()
            client.writer.close()
            await client.writer.wait_closed()

    async def _take_over(self, client: _Client, client_id: str) -> None:
        """End earlier connections with the same client id, as the standard asks; amqtt would keep them, deaf."""
        earlier = [c for c in self._clients if c is not client and c.connect and c.connect.client_id == client_id]
        for other in earlier:
            other.abort()
        if tasks := [other.task for other in earlier if other.task is not None]:
            await asyncio.wait(tasks, timeout=_TAKE_OVER_S)

    def _make_room(self) -> bool:
        """Return whether one more may come; the oldest connection without a CONNECT has to go for it."""
        if len(self._clients) < MAX_CONNECTIONS:
            return True
        silent = next((c for c in self._clients if c.connect is None), None)
        if silent is None:
            return False
        self._clients.pop(silent, None)
        silent.abort()
        return True

    def _tell(self, client: _Client, what: str) -> None:
        self._say(f"A client at {client.address} {what}")


def _keep_probing(connection: socket.socket) -> None:
    """Let the system find out when the other machine is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
