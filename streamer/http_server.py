"""Serve an aiohttp application in a thread and an event loop of its own; needs the extra `web`."""

import asyncio
import contextlib
import logging
import socket
import threading

from aiohttp import web

TURNS = 10  # of the loop: a connection is accepted, made and lost in three

logger = logging.getLogger(__name__)


def bound_socket(family: int, address: tuple[str, int]) -> socket.socket:
    """Return a socket that listens at `address`. Raises OSError where that is taken, or not of this machine."""
    server = socket.socket(family, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen(64)
    except OSError:
        server.close()
        raise
    return server


class ServingThread:
    """Serves `app` on a socket that listens, until it is closed; then no connection stays open.

    Requests get `patience_s` to end. What must end with the application belongs to its `on_shutdown`.
    """

    def __init__(self, app: web.Application, server: socket.socket, name: str, patience_s: float) -> None:
        self._app = app
        self._socket = server
        self._patience_s = patience_s
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self, within_s: float) -> None:
        """End the thread and release the port. Safe to call twice, and before `start`."""
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(within_s)
        if self._thread.ident is None:
            self._loop.close()
        self._socket.close()

    def _serve(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:  # ends what tasks are left, too
                runner.run(_serve_until(self._ending, self._app, self._socket, self._patience_s))
        except Exception:
            logger.exception("Internal error: the %s serves no more", self._thread.name)


async def _serve_until(ending: asyncio.Event, app: web.Application, server: socket.socket, patience_s: float) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=patience_s, handle_signals=False)
    await runner.setup()
    site = web.SockSite(runner, server)
    await site.start()
    await ending.wait()
    # First take no more, then let those that were accepted be made, then close: Python 3.11 loses a connection that
    # was accepted and not yet made when its server is closed (an assertion in asyncio, Server._attach).
    asyncio.get_running_loop().remove_reader(server)
    await _turns()
    await site.stop()
    connections = runner.server.connections if runner.server else []
    transports = [connection.transport for connection in connections]
    await runner.cleanup()
    for transport in transports:
        if transport is not None:
            transport.abort()  # cleanup leaves one open whose other end does not read what was sent
    await _turns()


async def _turns() -> None:
    """Let the loop turn: by turns, not by time, for on a busy machine a time may hold a single one."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
