"""The process of the embedded broker: `python -m streamer.publish.broker_process`, started by `broker.py`.

Its settings come as one line of JSON on standard input, so that no secret stands in the list of processes. It answers
in lines of JSON on standard output, `{"port": …}` first, and ends when standard input does: with the program that
started it, however that ends. It imports neither torch nor anything that needs it.
"""

import asyncio
import contextlib
import json
import ssl
import sys
import threading
import time
from typing import Any

from streamer.errors import StreamerError
from streamer.publish.broker_access import AccessRules
from streamer.publish.broker_server import BrokerServer

_REPEAT_S = 60.0  # the same news is told once in this time
_MAX_NEWS = 200  # different ones that are remembered for that


def main() -> None:
    """Serve until standard input ends."""
    settings = json.loads(sys.stdin.readline())
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.get_loop().set_exception_handler(lambda loop, context: None)  # one client's fault, not worth a line
        runner.run(_serve(settings))


async def _serve(settings: dict[str, Any]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_wait_for_end, args=(loop, stop), daemon=True).start()
    try:
        rules = AccessRules(settings["access"], settings["prefix"], settings["secret"])
        server = BrokerServer(rules, _News().tell, _tls(settings))
        try:
            port = await server.start(settings["bind"], settings["port"], settings["ports"])
            _answer(port=port)
            await stop.wait()
        finally:
            await server.stop()
    except StreamerError as error:
        _answer(failure=str(error))


def _tls(settings: dict[str, Any]) -> ssl.SSLContext | None:
    if not settings["tls_cert"]:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without the last argument OpenSSL would prompt for a passphrase on the terminal.
        context.load_cert_chain(settings["tls_cert"], settings["tls_key"] or None, password=lambda: "")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else error
        raise StreamerError(
            f"The certificate {settings['tls_cert']!r} cannot be used ({why}); give an unencrypted PEM file, and its "
            "key."
        ) from error
    return context


def _wait_for_end(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    with contextlib.suppress(OSError, ValueError):
        while sys.stdin.buffer.read(1024):
            pass
    with contextlib.suppress(RuntimeError):  # the loop has closed already
        loop.call_soon_threadsafe(stop.set)


class _News:
    """Tells the program that started this one what happened to clients, each kind once in a while."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def tell(self, text: str) -> None:
        kind = text.partition(": ")[2]
        now = time.monotonic()
        if now - self._told.get(kind, -_REPEAT_S) < _REPEAT_S:
            return
        if len(self._told) >= _MAX_NEWS:
            self._told.clear()
        self._told[kind] = now
        _answer(news=text)


def _answer(**what: object) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody reads: the end is near
        print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
