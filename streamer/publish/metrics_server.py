"""Serve the metrics over HTTP, where Prometheus fetches them."""

import contextlib
import ipaddress
import logging
import threading
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app

from streamer.errors import StreamerError
from streamer.events import Event
from streamer.publish.listen import Listen
from streamer.publish.metrics import ActionResults, Broker, Metrics
from streamer.publish.publisher import PublisherStats

MAX_CONNECTIONS = 8  # at once; Prometheus needs one, a person with a browser a few
TIMEOUT_S = 5.0  # for a client to say what it wants, and to take it

logger = logging.getLogger(__name__)

_Answer = Iterable[bytes]


class MetricsServer:
    """Implements `Publisher`: counts the events, and serves the figures at `http://ADDRESS:PORT/metrics`.

    A browser on this machine may be talked into fetching from loopback for a page of somebody else, under that page's
    name; so a server on loopback answers only to the names of loopback.
    """

    def __init__(self, listen: Listen, broker: Broker | None = None, actions: ActionResults | None = None) -> None:
        """Take the port. `broker` and `actions` are those of `Metrics`.

        Raises:
            StreamerError: the port is in use, or the address is not one of this machine.
        """
        self._metrics = Metrics(broker, actions)
        registry = CollectorRegistry()
        registry.register(self._metrics)
        ProcessCollector(registry=registry)
        try:
            self._server = _server(listen)
        except OSError as error:
            raise StreamerError(
                f"The metrics cannot be served on {listen} ({error.strerror}); give another port with --metrics."
            ) from None
        self.port: int = self._server.server_address[1]
        self._listen = Listen(listen.address, self.port)
        self._server.set_app(_named(make_wsgi_app(registry), listen))
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    @property
    def url(self) -> str:
        """Where they are served."""
        return f"http://{self._listen}/metrics"

    @property
    def is_for_this_machine(self) -> bool:
        """Whether nobody else reaches them."""
        return self._listen.is_loopback

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def publish(self, event: Event) -> None:
        """Count one event."""
        self._metrics.add(event)

    def stats(self) -> PublisherStats:
        """Return that all is well: nothing is sent, and nothing waits."""
        return PublisherStats(True, f"metrics on {self._listen}", "", 0, 0, 0)

    def close(self) -> None:
        """Release the port. Safe to call twice, and before `start`."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    """A thread a connection, so many at once and no more."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(*arguments, **options)

    def server_bind(self) -> None:
        """Bind without asking the name service who we are."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("A client of the metrics failed.", exc_info=True)


class _Handler(WSGIRequestHandler):
    timeout = TIMEOUT_S

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""


def _server(listen: Listen) -> _Server:
    class Server(_Server):
        address_family = listen.family

    return Server((listen.address, listen.port), _Handler)


def _named(app: Callable[..., Any], listen: Listen) -> Callable[..., _Answer]:
    """Return `app`, which on loopback answers only to whom asks for loopback."""
    if not listen.is_loopback:
        return app

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> _Answer:
        if not _is_loopback(environ.get("HTTP_HOST", "")):
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"The metrics are for this machine; ask for 127.0.0.1 or localhost.\n"]
        found: _Answer = app(environ, start_response)
        return found

    return answer


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    return False
