"""One client's connection to the embedded broker: what it may send, and how much is kept for it."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from amqtt.adapters import ReaderAdapter, StreamWriterAdapter

from streamer.publish.broker_access import Role
from streamer.publish.mqtt_packets import (
    DISCONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREL,
    PacketError,
    check_packet,
    kind_of,
    packet_id,
    read_packet,
)

MAX_PACKET = 256 * 1024 + 1024  # bytes: a message of 256 KiB, its topic and its header
MAX_READER_PACKET = 16 * 1024  # of a client that only subscribes
MAX_QUEUE = 512 * 1024  # bytes that wait for one client
_QUEUE_AFTER_DROPS = MAX_QUEUE * 3 // 4  # so that not every packet that comes looks for one to drop
STALL_S = 30.0  # a client that takes nothing for so long is gone
_MAX_OPEN_QOS2 = 20  # messages of one sender that it has not released
_MAX_UNACKNOWLEDGED = 200  # messages that a subscriber may owe an acknowledgement for longer than …
_ACKNOWLEDGE_S = 10.0
_MOST_UNACKNOWLEDGED = 2_000  # however new
_BUSY_S = 0.005
_SETTLE_S = 2.0
_CLOSE_S = 0.5

_Say = Callable[[str], None]


class Flow(Protocol):
    """What the broker says of the messages that one client sent."""

    def is_busy(self) -> bool:
        """Return whether the next has to wait."""
        ...

    def has_undelivered(self) -> bool:
        """Return whether some have not been passed on yet."""
        ...


class PacketReader(ReaderAdapter):  # type: ignore[misc]  # amqtt has no types
    """Gives amqtt the bytes of whole packets that were checked, and the end of the stream after the first bad one."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        connect: bytes,
        *,
        role: Role,
        silence_s: float | None,
        flow: "Flow",
        outgoing: "PacketWriter",
        say: _Say,
    ) -> None:
        self._reader = reader
        self._left = memoryview(connect)
        self._role = role
        self._silence_s = silence_s  # the longest that the client may send nothing
        self._flow = flow
        self._outgoing = outgoing
        self._say = say
        self._open_qos2: set[int] = set()
        self._over = False

    async def read(self, n: int = -1) -> bytes:
        """Return the next `n` bytes; none where the connection is over."""
        if n > 0 and not self._left and not self._over:
            try:
                self._left = memoryview(await self._next())
            except (PacketError, OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self._over = True
                if isinstance(error, PacketError):
                    self._say(f"was disconnected: it sent {error}.")
                await self._settle()
        if self._over or n < 0 or n > len(self._left):
            self._over = True
            return b""
        piece, self._left = self._left[:n], self._left[n:]
        return bytes(piece)

    def feed_eof(self) -> None:
        """Let nothing more come."""
        self._over = True

    async def _next(self) -> bytes:
        largest = MAX_PACKET if self._role is Role.EVERYTHING else MAX_READER_PACKET
        async with asyncio.timeout(self._silence_s):
            packet = await read_packet(self._reader, largest)
        check_packet(packet)
        kind = kind_of(packet)
        if kind == PUBLISH:
            await self._admit(packet)
        elif kind == DISCONNECT:
            await self._settle()
        elif kind == PUBREL:
            self._open_qos2.discard(packet_id(packet))
        elif kind in (PUBACK, PUBCOMP):
            self._outgoing.acknowledged(packet_id(packet))
        return packet

    async def _settle(self) -> None:
        """Wait until amqtt has passed on what the client sent; it forgets the rest as soon as the client has left."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_S):
                await asyncio.sleep(0)
                while self._flow.has_undelivered():
                    await asyncio.sleep(_BUSY_S)
                await asyncio.sleep(_BUSY_S)

    async def _admit(self, packet: bytes) -> None:
        if self._role is not Role.EVERYTHING:
            raise PacketError("a message, for which it needs the broker's secret")
        if packet[0] & 0x06 == 0x04:
            self._open_qos2.add(packet_id(packet))
            if len(self._open_qos2) > _MAX_OPEN_QOS2:
                raise PacketError(f"more than {_MAX_OPEN_QOS2} messages of QoS 2 without releasing them")
        await asyncio.sleep(0)  # amqtt reads on before it has looked at what it read
        while self._flow.is_busy():
            await asyncio.sleep(_BUSY_S)


class PacketWriter(StreamWriterAdapter):  # type: ignore[misc]  # amqtt has no types
    """Queues packets for one client. Past `MAX_QUEUE` bytes the oldest telemetry (QoS 0) is dropped.

    A client for which the rest is too much, that takes nothing for `STALL_S`, or that acknowledges nothing, is
    disconnected.
    """

    def __init__(self, writer: asyncio.StreamWriter, say: _Say) -> None:
        super().__init__(writer)
        self.is_closed: bool = False
        writer.transport.set_write_buffer_limits(high=64 * 1024)
        self._out = writer
        self._say = say
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._unacknowledged: dict[int, float] = {}  # id → when it was queued
        self._wake = asyncio.Event()
        self._ending = False
        self._pump = asyncio.create_task(self._send())

    def write(self, data: bytes) -> None:
        """Queue one packet."""
        if self._ending or self.is_closed:
            return
        self._queue.append(data)
        self._bytes += len(data)
        if _needs_answer(data):
            now = time.monotonic()
            self._unacknowledged.pop(packet_id(data), None)
            self._unacknowledged[packet_id(data)] = now
            if self._owes_too_much(now):
                self._abort("it does not acknowledge what it gets")
        if self._bytes > MAX_QUEUE:
            self._drop_telemetry()
        if self._bytes > MAX_QUEUE:
            self._abort("it does not read what it gets")
        self._wake.set()

    async def drain(self) -> None:
        """Return at once: nobody else waits for this client."""

    def acknowledged(self, number: int) -> None:
        """Note that the client acknowledged the message of this id."""
        self._unacknowledged.pop(number, None)

    async def close(self) -> None:
        """Send what is queued, within half a second, and close the connection. Safe to call twice."""
        if self.is_closed:
            return
        self.is_closed = self._ending = True
        self._wake.set()
        with contextlib.suppress(TimeoutError, OSError):
            await asyncio.wait_for(self._pump, _CLOSE_S)
        self._pump.cancel()
        self._out.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._out.wait_closed(), _CLOSE_S)
        self._out.transport.abort()

    async def _send(self) -> None:
        while not (self._ending and not self._queue):
            self._wake.clear()
            while self._queue:
                data = self._queue.popleft()
                self._bytes -= len(data)
                self._out.write(data)
                try:
                    async with asyncio.timeout(STALL_S):
                        await self._out.drain()
                except TimeoutError:
                    self._abort("it takes nothing")
                    return
                except OSError:
                    self._abort("")
                    return
            if not self._ending:
                await self._wake.wait()

    def _owes_too_much(self, now: float) -> bool:
        count, oldest = len(self._unacknowledged), next(iter(self._unacknowledged.values()))
        return count > _MOST_UNACKNOWLEDGED or (count > _MAX_UNACKNOWLEDGED and now - oldest > _ACKNOWLEDGE_S)

    def _drop_telemetry(self) -> None:
        kept: deque[bytes] = deque()
        while self._queue:
            data = self._queue.popleft()
            if self._bytes > _QUEUE_AFTER_DROPS and data[0] >> 4 == PUBLISH and not _needs_answer(data):
                self._bytes -= len(data)
            else:
                kept.append(data)
        self._queue = kept

    def _abort(self, why: str) -> None:
        if why and not self._ending:
            self._say(f"was disconnected: {why}.")
        self._ending = True
        self._queue.clear()
        self._bytes = 0
        self._wake.set()
        self._out.transport.abort()


def _needs_answer(packet: bytes) -> bool:
    return packet[0] >> 4 == PUBLISH and bool(packet[0] & 0x06)
