"""The thread that serves pages and takes a browser's microphone, by real sockets on loopback."""

import asyncio
import gc
import socket
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest
from aiohttp import web

from streamer.http_server import ServingThread, bound_socket

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = 50_000_000  # bytes: more than two sockets hold


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Served:
    thread: ServingThread
    address: tuple[str, int]


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], Served]]:
    made: list[Served] = []

    def start(handler: Handler) -> Served:
        app = web.Application()
        app.router.add_get("/", handler)
        server = bound_socket(socket.AF_INET, ("127.0.0.1", 0))
        made.append(Served(ServingThread(app, server, "test page", patience_s=0.05), server.getsockname()))
        made[-1].thread.start()
        return made[-1]

    yield start
    for served in made:
        served.thread.close(5)


async def say_much(_: web.Request) -> web.Response:
    return web.Response(body=bytes(LARGE))


async def write_much(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(1_000_000))


async def never_answer(_: web.Request) -> web.Response:
    await asyncio.sleep(3_600)
    raise AssertionError


@pytest.mark.parametrize("sent", [b"", REQUEST[:10], REQUEST], ids=["nothing", "half a request", "a request"])
@pytest.mark.parametrize("handler", [say_much, write_much, never_answer])
@pytest.mark.parametrize("wait_s", [0.0, 0.2], ids=["at the last moment", "for a while"])
def test_no_connection_outlives_the_server(
    serve: Callable[[Handler], Served], handler: Handler, sent: bytes, wait_s: float
) -> None:
    served = serve(handler)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clients = [socket.create_connection(served.address) for _ in range(8)]
        for client in clients:
            client.sendall(sent)
        time.sleep(wait_s)
        served.thread.close(20)
        assert not served.thread.alive
        gc.collect()
        for client in clients:
            client.close()
    assert [str(warning.message) for warning in caught] == []


def test_one_that_never_served_is_closed_too() -> None:
    server = bound_socket(socket.AF_INET, ("127.0.0.1", 0))
    serving = ServingThread(web.Application(), server, "test page", patience_s=0.05)
    serving.close(5)
    serving.close(5)
    with pytest.raises(OSError):  # noqa: PT011, the socket is closed: any error will do
        server.getsockname()
