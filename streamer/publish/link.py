"""One MQTT connection, kept alive in a thread of its own.

The thread runs its own selector loop: aiomqtt needs `add_reader`, which Windows' default loop lacks, and whatever
blocks here (a dead broker holds a publish for seconds) blocks no other thread.
"""

import asyncio
import contextlib
import logging
import random
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import aiomqtt

from streamer.errors import StreamerError
from streamer.publish.link_errors import explain
from streamer.publish.mqtt_settings import MqttSettings

LinkStatus = Literal["connecting", "online", "offline"]
Session = Callable[[aiomqtt.Client, asyncio.Event], Awaitable[None]]

CLOSE_S = 1.2  # from the call of `close` to the end of the thread, whatever the broker does
_DISCONNECT_S = 0.1  # of which for the orderly DISCONNECT
# Without it the second of two small messages waits for the first one's TCP acknowledgement, which may be 40 ms late.
_NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)

logger = logging.getLogger(__name__)
_paho_logger = logging.getLogger("streamer.publish.paho")
_paho_logger.setLevel(logging.CRITICAL)  # whatever it logs is raised as an exception, too


@dataclass(frozen=True, slots=True)
class Timing:
    """Timeouts and delays of a connection, in seconds."""

    first_retry_s: float = 1.0
    last_retry_s: float = 30.0
    answer_s: float = 5.0  # for any answer of the broker; later it counts as dead
    keepalive_s: int = 10  # a silent broker is pinged, and given up after twice this time
    resubscribe_s: float = 2.0  # after an outage, for the broker's other clients to subscribe again

    def delays(self) -> Iterator[float]:
        """Yield the seconds to wait before each retry: doubling, with jitter so that many monitors do not collide."""
        nominal = self.first_retry_s
        while True:
            yield min(self.last_retry_s, nominal * random.uniform(0.75, 1.25))
            nominal = min(self.last_retry_s, 2 * nominal)


@dataclass(frozen=True, slots=True)
class LinkState:
    """The state of the connection at one moment."""

    status: LinkStatus
    detail: str  # why it is offline, in one sentence; empty when all is well


class MqttLink:
    """Connects, runs a session while connected, reconnects until closed.

    The session is a coroutine that gets the connected client and the event `closing`. It raises `MqttError` when the
    connection is lost, and returns soon after `closing` is set; after `CLOSE_S` it is cancelled. One that returns
    before that gets another connection at once.
    """

    def __init__(
        self,
        settings: MqttSettings,
        session: Session,
        *,
        name: str,
        client_id: str,
        will: aiomqtt.Will | None = None,
        timing: Timing | None = None,
        on_change: Callable[[LinkState], None] = lambda state: None,
    ) -> None:
        """Raises UsageError where a certificate cannot be read."""
        self._broker = settings.broker
        self._tls = settings.tls_context()
        self._session = session
        self._client_id = client_id
        self._will = will
        self._timing = timing or Timing()
        self._on_change = on_change
        self._state = LinkState("connecting", "")
        self._closing = asyncio.Event()
        self._close_wanted = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def state(self) -> LinkState:
        """The state now."""
        return self._state

    def start(self) -> None:
        """Begin to connect; return at once."""
        self._thread.start()

    def call(self, function: Callable[[], object]) -> None:
        """Run `function` in the link's thread soon; do nothing where that thread does not run."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
                self._loop.call_soon_threadsafe(function)

    def set_will(self, will: aiomqtt.Will) -> None:
        """Set what the broker publishes when the next connection is lost. Call from the session."""
        self._will = will

    def close(self) -> None:
        """End the session and the thread, within about `CLOSE_S`. Safe to call twice, and before `start`."""
        self._close_wanted = True
        self.call(self._closing.set)
        if self._thread.ident is not None:
            self._thread.join(CLOSE_S + 0.5)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.get_loop().set_default_executor(_DaemonThreads())
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._close_wanted:  # `close` was called before there was a loop
            self._closing.set()
        keeper = asyncio.create_task(self._keep_connected())
        await self._closing.wait()
        await asyncio.wait([keeper], timeout=CLOSE_S)
        keeper.cancel()
        await asyncio.wait([keeper])
        self._change(LinkState("offline", ""))

    async def _keep_connected(self) -> None:
        delays = self._timing.delays()
        while True:
            last_try = self._closing.is_set()
            try:
                await self._connect()
                if self._closing.is_set():
                    return
                continue  # the session wants another connection
            except Exception as error:
                if not isinstance(error, aiomqtt.MqttError | OSError | StreamerError):
                    logger.exception("A defect ended the MQTT session; it is started again.")
                if self._state.status == "online":
                    delays = self._timing.delays()
                self._change(LinkState("offline", explain(error, self._broker)))
            this = asyncio.current_task()
            if last_try or (this is not None and this.cancelling()):  # another error may have taken its place
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), next(delays))

    async def _connect(self) -> None:
        # A new client each time: an old one would itself resend what the session is going to send again. The client
        # id stays, so that the broker ends a half-dead earlier connection, and its will comes before the new `online`.
        client = aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.username,
            password=self._broker.password,
            identifier=self._client_id,
            tls_context=self._tls,
            will=self._will,
            clean_session=True,
            keepalive=self._timing.keepalive_s,
            timeout=self._timing.answer_s,
            max_queued_incoming_messages=10_000,
            socket_options=_NO_DELAY,
            logger=_paho_logger,
        )
        async with connected(client):
            self._change(LinkState("online", ""))
            try:
                await self._session(client, self._closing)
            finally:
                client.timeout = _DISCONNECT_S

    def _change(self, state: LinkState) -> None:
        if state == self._state:
            return
        self._state = state
        if state.detail:
            logger.warning("%s", state.detail)
        self._on_change(state)


@contextlib.asynccontextmanager
async def connected(client: aiomqtt.Client) -> AsyncIterator[aiomqtt.Client]:
    """Connect `client`, and close its connection in any case.

    aiomqtt (2.5.1) keeps a connection that is not answered in time, or whose broker takes nothing any more: it is
    pinged, and one that is answered late stays at the broker beside the next, under the same id.
    """
    try:
        async with client:
            yield client
    finally:
        connection = client._client  # there is no public way
        if connection.socket() is not None:
            connection.on_disconnect = None  # aiomqtt's raises where connecting was cancelled
            connection.on_socket_register_write = None  # without it paho writes at once
            connection.disconnect()  # in order, so that the broker does not publish the will
        if connection.socket() is not None:  # nothing more can be written
            connection.reinitialise()


async def race(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run all until the first ends; cancel the others; raise what the first raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


class _DaemonThreads(ThreadPoolExecutor):
    """An executor of daemon threads: connecting to a dead address, or a slow name server, cannot be interrupted.

    The standard library's executor keeps the interpreter from exiting until its threads have ended.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # raised where the future is awaited
                    future.set_exception(error)

        threading.Thread(target=run, name="mqtt-connect", daemon=True).start()
        return future
