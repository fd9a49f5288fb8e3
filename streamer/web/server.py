"""Serve the page over HTTP, from a thread of its own."""

import asyncio
import ipaddress
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from streamer.errors import StreamerError
from streamer.feed.snapshot import Feed
from streamer.http_server import ServingThread, bound_socket
from streamer.publish.listen import Listen
from streamer.web.access import COOKIE, Access
from streamer.web.hub import Hub
from streamer.web.payload import past_json

PAGE = Path(__file__).with_name("page")
FILES = {
    "": ("page.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
    "drawing.js": ("drawing.js", "text/javascript"),
    "microphone.js": ("microphone.js", "text/javascript"),
    "recorder.js": ("recorder.js", "text/javascript"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
MAX_VISITORS = 64
SEND_S = 10.0  # a visitor that takes nothing for so long is gone
CLOSE_S = 2.0
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self' ws://127.0.0.1:* ws://localhost:*; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Server": "streamer",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PageServer:
    """Shows what a feed shows, to everybody whom `access` lets in; read only."""

    def __init__(self, feed: Feed, access: Access) -> None:
        """Take the port.

        Raises:
            StreamerError: the port is in use, or the address is not one of this machine.
        """
        listen = access.listen
        try:
            server = bound_socket(listen.family, (listen.address, listen.port))
        except OSError as error:
            raise StreamerError(
                f"The page cannot be served on {listen} ({error.strerror}); give another port "
                "(run --serve, serve --listen)."
            ) from None
        self._listen = Listen(listen.address, server.getsockname()[1])
        self._feed = feed
        self._access = access
        self._run = secrets.token_hex(4)
        self._hub: Hub | None = None
        self._serving = ServingThread(self._site(), server, "web page", patience_s=0.5)

    @property
    def url(self) -> str:
        """Where the page is, with its token."""
        token = self._access.token
        everywhere = ipaddress.ip_address(self._listen.address).is_unspecified
        place = f"{socket.gethostname()}:{self._listen.port}" if everywhere else str(self._listen)
        return f"http://{place}/" + (f"?token={token}" if token else "")

    @property
    def needs_token(self) -> bool:
        """Whether others reach it, and need a token."""
        return bool(self._access.token)

    @property
    def visitors(self) -> int:
        """How many look now."""
        return self._hub.visitors if self._hub else 0

    def start(self) -> None:
        """Begin to serve."""
        self._serving.start()

    def close(self) -> None:
        """End the thread and release the port. Safe to call twice, and before `start`."""
        self._serving.close(CLOSE_S)

    def _site(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=1024)
        app.router.add_get("/events", self._events)
        app.router.add_get("/past", self._past)
        app.router.add_get("/{file:[a-z.]*}", _file)
        app.on_startup.append(self._open_hub)
        app.on_shutdown.append(self._close_hub)
        return app

    async def _open_hub(self, _: web.Application) -> None:
        self._hub = Hub(self._feed, self._run)

    async def _close_hub(self, _: web.Application) -> None:
        if self._hub is not None:
            await self._hub.close()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in whom `access` lets in; a token in the address moves into a cookie, so that it is not left there."""
        given = request.query.get("token")
        if given is not None and self._access.accepts(given):
            return _with_cookie(request, given)
        refusal = self._access.refusal(request)
        if refusal:
            return web.Response(status=403, text=refusal + "\n", headers=HEADERS)
        response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    async def _events(self, request: web.Request) -> web.StreamResponse:
        assert self._hub is not None
        if self._hub.visitors >= MAX_VISITORS:
            return web.Response(status=503, text="Too many look at this page already.\n")
        response = web.StreamResponse(
            headers=HEADERS | {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        visit = self._hub.visit()
        try:
            async for message in visit:
                async with asyncio.timeout(SEND_S):
                    await response.write(message)
        except (ConnectionError, TimeoutError):
            logger.debug("A visitor went.")
        finally:
            await visit.aclose()  # type: ignore[attr-defined]
            if request.transport is not None:  # what a slow visitor has not taken would keep the connection open
                request.transport.abort()
        return response

    async def _past(self, request: web.Request) -> web.Response:
        """Answer with the past of every stream, made beside the loop: a day of many streams takes a while."""
        body = await asyncio.to_thread(lambda: past_json(self._feed.snapshot(), self._run))
        response = web.Response(body=body, content_type="application/json")
        response.enable_compression()
        return response


def _with_cookie(request: web.Request, token: str) -> web.Response:
    """Answer with the same address without the token, and the token as a cookie that no script reads."""
    rest = [(key, value) for key, value in request.query.items() if key != "token"]
    response = web.Response(status=303, headers=HEADERS | {"Location": str(request.rel_url.with_query(rest))})
    response.set_cookie(COOKIE, token, httponly=True, samesite="Lax", max_age=365 * 86_400, path="/")
    return response


async def _file(request: web.Request) -> web.StreamResponse:
    found = FILES.get(request.match_info["file"])
    if found is None:
        raise web.HTTPNotFound(text="There is nothing here.\n")
    name, kind = found
    return web.Response(body=(PAGE / name).read_bytes(), content_type=kind, charset="utf-8")
