"""A browser's microphone: a WebSocket server that takes raw PCM from one sender at a time."""

import contextlib
import hmac
import queue
import socket
from collections.abc import Mapping
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from streamer.http_server import ServingThread, bound_socket
from streamer.loopback import host_of, host_of_origin, is_loopback_name
from streamer.sources.address import Address
from streamer.sources.connection import ConnectionLostError, Received

ENCODINGS: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
RATES_HZ = (8_000, 192_000)
MAX_MESSAGE_BYTES = 65_536
QUEUE_MESSAGES = 256  # 5 s in messages of 20 ms
POLL_S = 0.2  # how soon the reader sees that the source was closed
START_S = 5.0
CLOSE_S = 1.0
HEARTBEAT_S = 5.0  # a sender that is gone without a word makes room for another


class BrowserMicrophone:
    """Implements `Connection`: listens until it is closed, and reads from whoever is connected.

    Senders say what they send in the query: `?format=s16le&rate=48000`, mono. On loopback only pages of this machine
    may send, for every page of the web can make a browser connect there. A second sender is refused while there is one.
    While nobody sends, `read` returns no frames, and the socket stays open.
    """

    def __init__(self, address: Address, token: str = "") -> None:
        """Bind.

        Raises:
            ConnectionLostError: the port is in use, or the address is not one of this machine.
        """
        self.length_s: float | None = None
        self.on_demand = False
        self._token = token
        self._items: queue.Queue[Received] = queue.Queue(QUEUE_MESSAGES)
        self._taken = False  # somebody is connected
        self._broken = False  # what comes next does not follow what came before
        try:
            family, _, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
            server = bound_socket(family, (str(where[0]), int(where[1])))
        except OSError as error:
            raise ConnectionLostError(
                f"cannot be listened at ({error.strerror}); name an address of this machine and a free port"
            ) from None
        self.port: int = server.getsockname()[1]
        app = web.Application(client_max_size=1024)
        app.router.add_get("/", self._receive)
        self._serving = ServingThread(app, server, "browser microphone", patience_s=0.1)
        self._serving.start()

    def read(self) -> Received | None:
        """Return the frames of one message; none of them while nothing comes."""
        with contextlib.suppress(queue.Empty):
            return self._items.get(timeout=POLL_S)
        if not self._serving.alive:
            raise ConnectionLostError("ended on an internal error")
        return Received(np.zeros((0, 1), dtype=np.int16), 24_000.0)

    def close(self) -> None:
        """Send the sender away and release the port."""
        self._serving.close(CLOSE_S)

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal:
            return web.Response(status=403, text=refusal + "\n")
        form = _form(request.query)
        if form is None:
            example = "?format=s16le&rate=48000"
            return web.Response(status=400, text=f"Connect a WebSocket and say what it sends, mono: {example}.\n")
        if self._taken:
            return web.Response(status=409, text="Somebody else is sending; this takes one sender at a time.\n")
        dtype, rate_hz = form
        sender = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, heartbeat=HEARTBEAT_S)
        if not sender.can_prepare(request):
            return web.Response(status=426, text="This takes a WebSocket.\n", headers={"Upgrade": "websocket"})
        self._taken, ended = True, False
        try:
            await sender.prepare(request)
            async for message in sender:
                if message.type is WSMsgType.BINARY:
                    self._put(message.data, dtype, rate_hz)
            ended = True
        finally:
            if not ended and request.transport is not None:  # this end closes, and waits for nobody
                request.transport.abort()
            self._taken, self._broken = False, True
        return sender

    def _refusal(self, request: web.Request) -> str:
        """Return why the sender may not send, in one sentence; empty where it may."""
        if self._token:
            given = request.query.get("token", "").encode()
            return "" if hmac.compare_digest(given, self._token.encode()) else "The token is missing or wrong."
        origin = request.headers.get("Origin")
        if not is_loopback_name(host_of(request.host)) or (origin and not is_loopback_name(host_of_origin(origin))):
            return "This is for pages and programs of this machine."
        return ""

    def _put(self, data: bytes, dtype: np.dtype[Any], rate_hz: float) -> None:
        whole = len(data) // dtype.itemsize * dtype.itemsize
        frames = np.frombuffer(data[:whole], dtype=dtype).reshape(-1, 1)
        if not len(frames):
            return
        try:
            self._items.put_nowait(Received(frames, rate_hz, self._broken))
            self._broken = False
        except queue.Full:  # nobody reads: the machine is stalled
            self._broken = True


def _form(query: Mapping[str, str]) -> tuple[np.dtype[Any], float] | None:
    """Return encoding and rate that a sender names; None where they make no sense."""
    dtype, rate = ENCODINGS.get(query.get("format", "s16le")), query.get("rate", "")
    if dtype is None or not rate.isascii() or not rate.isdecimal() or not RATES_HZ[0] <= int(rate) <= RATES_HZ[1]:
        return None
    return dtype, float(rate)
