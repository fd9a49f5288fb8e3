"""Serve an aiohttp application on a socket until an event, in a loop of its own; needs the extra `web`."""

import asyncio
import socket

from aiohttp import web

TURN_S = 0.05  # connections are closed in a later turn of the loop


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


async def serve_until(app: web.Application, server: socket.socket, ending: asyncio.Event, patience_s: float) -> None:
    """Serve until `ending` is set; requests get `patience_s` to end, and no connection stays open."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=patience_s, handle_signals=False)
    await runner.setup()
    connections = runner.server
    await web.SockSite(runner, server).start()
    await ending.wait()
    await runner.cleanup()
    await asyncio.sleep(TURN_S)
    if connections is not None:  # one that was accepted at the last moment
        await connections.shutdown(0)
    await asyncio.sleep(TURN_S)
