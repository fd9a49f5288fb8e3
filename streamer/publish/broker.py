"""The embedded MQTT broker, for machines without one: amqtt in a thread."""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from streamer.errors import StreamerError, UsageError
from streamer.publish.broker_files import write_broker_file

PORT = 1883
_PORTS_TRIED = 100
_START_S = 20.0  # importing amqtt takes a second or two on a small machine
_STOP_S = 2.0

_Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

logger = logging.getLogger(__name__)


class EmbeddedBroker:
    """An MQTT 3.1.1 broker without accounts, in a thread of its own. Retained messages live as long as it does.

    It listens on loopback. To open it to the network takes both `bind` and `open_to_network`, because every client
    that reaches it may read and publish everything.
    """

    def __init__(self, bind: str = "127.0.0.1", port: int = PORT, *, open_to_network: bool = False) -> None:
        """Raises UsageError where `bind` is no IP address or needs `open_to_network`, or the port is wrong."""
        try:
            address = ipaddress.ip_address(bind)
        except ValueError:
            raise UsageError(f"The broker cannot listen on {bind!r}; give an IP address such as 127.0.0.1.") from None
        if not address.is_loopback and not open_to_network:
            raise UsageError(
                f"A broker on {bind} would accept every client on the network without a password; keep it on "
                "127.0.0.1, or open it explicitly."
            )
        if not 1 <= port <= 65_535:
            raise UsageError(f"The broker cannot listen on port {port}; give one from 1 to 65535.")
        self._bind = bind
        self._first_port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_wanted = asyncio.Event()
        self._started = threading.Event()
        self._port: int | None = None
        self._failure = ""
        self._file: Path | None = None
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)

    def start(self) -> str:
        """Listen on the port, or on the next free one, and return the URL for clients on this machine.

        Raises:
            StreamerError: no port is free, or the address is not one of this machine.
        """
        self._thread.start()
        self._started.wait(_START_S)
        if self._port is None:
            self.stop()
            raise StreamerError(self._failure or "The embedded broker does not start; give the URL of another broker.")
        self._file = write_broker_file(self.url)
        return self.url

    @property
    def url(self) -> str:
        """The URL for clients on this machine, once started."""
        unspecified = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # clients cannot connect to "every address"
        host = unspecified.get(self._bind, self._bind)
        return f"mqtt://{f'[{host}]' if ':' in host else host}:{self._port}"

    def stop(self) -> None:
        """Disconnect all clients and end the thread, within two seconds. Safe to call twice, and before `start`."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed already
                self._loop.call_soon_threadsafe(self._stop_wanted.set)
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            self._loop = runner.get_loop()
            self._loop.set_exception_handler(_log_debug)
            try:
                runner.run(self._serve())
            except Exception:
                logger.exception("The embedded broker failed.")
            finally:
                self._started.set()

    async def _serve(self) -> None:
        from streamer.publish.broker_process import QuietBroker  # slow to import, and not needed otherwise

        broker = QuietBroker()
        await broker.start()
        server = await self._listen(broker.serve)
        if server is not None:
            self._port = server.sockets[0].getsockname()[1]
            self._started.set()
            await self._stop_wanted.wait()
            server.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(broker.shutdown(), _STOP_S)

    async def _listen(self, serve: _Serve) -> asyncio.Server | None:
        """Start a server on the first free port; return None and set `_failure` where that fails."""
        last_port = min(self._first_port + _PORTS_TRIED, 65_535)
        for port in range(self._first_port, last_port + 1):
            try:
                return await asyncio.start_server(serve, self._bind, port)
            except OSError as error:
                # On Windows a port that the system reserves raises EACCES, not EADDRINUSE.
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    why = os.strerror(error.errno or 0)
                    self._failure = (
                        f"The broker cannot listen on {self._bind} ({why}); give an address of this machine."
                    )
                    return None
        self._failure = f"No port of {self._bind} from {self._first_port} to {last_port} is free; give another."
        return None


def _log_debug(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    logger.debug("In the embedded broker: %s", context.get("exception") or context["message"])
