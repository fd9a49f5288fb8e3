"""A browser's microphone, by a real WebSocket on loopback."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator

import aiohttp
import numpy as np
import pytest

from streamer.errors import UsageError
from streamer.sources.address import parse_address
from streamer.sources.browser import BrowserMicrophone
from streamer.sources.connection import ConnectionLostError, Received
from streamer.sources.open import SourceOptions, open_source, parse_source

TOKEN = "a-token-of-some-length"
FORM = "?format=s16le&rate=48000"


@pytest.fixture
def microphone() -> Iterator[BrowserMicrophone]:
    made = BrowserMicrophone(parse_address("listen+ws://127.0.0.1:0"))
    yield made
    made.close()


def connect(port: int, query: str = FORM, headers: dict[str, str] | None = None) -> int:
    """Try to connect; return the status that answers, 101 where it is accepted."""

    async def run() -> int:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.ws_connect(f"ws://127.0.0.1:{port}/{query}", headers=headers):
                    return 101
            except aiohttp.WSServerHandshakeError as error:
                return error.status

    return asyncio.run(run())


def send(port: int, *messages: bytes, query: str = FORM) -> None:
    async def run() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://127.0.0.1:{port}/{query}") as sender,
        ):
            for message in messages:
                await sender.send_bytes(message)

    asyncio.run(run())


def frames_of(microphone: BrowserMicrophone, blocks: int) -> list[Received]:
    """The next blocks that hold frames."""
    found: list[Received] = []
    deadline = time.monotonic() + 20
    while len(found) < blocks:
        assert time.monotonic() < deadline
        received = microphone.read()
        assert received is not None
        if len(received.frames):
            found.append(received)
    return found


def test_what_is_sent_is_read_at_its_rate(microphone: BrowserMicrophone) -> None:
    pcm = np.arange(-480, 480, dtype="<i2")
    send(microphone.port, pcm.tobytes(), pcm.tobytes() + b"\x01")
    for received in frames_of(microphone, 2):
        assert (received.frames[:, 0] == pcm).all()
        assert received.rate_hz == 48_000


def test_float_samples_are_taken_too(microphone: BrowserMicrophone) -> None:
    send(microphone.port, np.full(240, 0.25, dtype="<f4").tobytes(), query="?format=f32le&rate=24000")
    (received,) = frames_of(microphone, 1)
    assert (received.frames == 0.25).all()


def test_while_nobody_sends_it_waits(microphone: BrowserMicrophone) -> None:
    received = microphone.read()
    assert received is not None
    assert len(received.frames) == 0


def test_audio_after_another_connection_does_not_follow_what_came_before(microphone: BrowserMicrophone) -> None:
    for _ in range(2):
        send(microphone.port, bytes(960))
    assert [received.broken for received in frames_of(microphone, 2)] == [False, True]


@pytest.mark.parametrize("query", ["", "?rate=0", "?rate=-5", "?rate=1e5", "?rate=999999", "?rate=48000&format=mp3"])
def test_a_sender_must_say_what_it_sends(microphone: BrowserMicrophone, query: str) -> None:
    assert connect(microphone.port, query) == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 101),
        ({"Origin": "http://127.0.0.1:8780"}, 101),
        ({"Origin": "http://localhost"}, 101),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),
    ],
)
def test_on_loopback_only_pages_of_this_machine_may_send(
    microphone: BrowserMicrophone, headers: dict[str, str], status: int
) -> None:
    assert connect(microphone.port, headers=headers) == status


@pytest.mark.parametrize(("given", "status"), [("", 403), ("&token=wrong", 403), (f"&token={TOKEN}", 101)])
def test_where_a_token_is_set_nobody_sends_without_it(given: str, status: int) -> None:
    made = BrowserMicrophone(parse_address("listen+ws://127.0.0.1:0"), TOKEN)
    try:
        assert connect(made.port, FORM + given, {"Origin": "https://my.example"}) == status
    finally:
        made.close()


def test_one_sends_at_a_time(microphone: BrowserMicrophone) -> None:
    async def run() -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://127.0.0.1:{microphone.port}/{FORM}"),
        ):
            return await asyncio.to_thread(connect, microphone.port)

    assert asyncio.run(run()) == 409
    assert connect(microphone.port) == 101


def test_a_message_that_is_too_large_ends_the_sender_and_nothing_else(microphone: BrowserMicrophone) -> None:
    send(microphone.port, bytes(1_000_000))
    send(microphone.port, bytes(960))
    assert len(frames_of(microphone, 1)[0].frames) == 480


def test_closing_sends_the_sender_away(microphone: BrowserMicrophone) -> None:
    async def run() -> bool:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://127.0.0.1:{microphone.port}/{FORM}") as sender,
        ):
            await asyncio.to_thread(microphone.close)
            await asyncio.wait_for(sender.receive(), 10)
            return sender.closed

    assert asyncio.run(run())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", microphone.port), 1)


def test_a_port_in_use_is_told(microphone: BrowserMicrophone) -> None:
    with pytest.raises(ConnectionLostError, match="cannot be listened at"):
        BrowserMicrophone(parse_address(f"listen+ws://127.0.0.1:{microphone.port}"))


def test_what_others_reach_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMER_SOURCE_PASSWORD", raising=False)
    spec = parse_source("listen+ws://0.0.0.0:8790")
    with pytest.raises(UsageError, match="token of 16 characters"):
        open_source(spec)
    monkeypatch.setenv("STREAMER_SOURCE_PASSWORD", TOKEN)
    source = open_source(spec)
    assert (source.name, source.status().device) == ("browser", "listen+ws://0.0.0.0:8790")


def test_its_audio_takes_the_way_of_every_source(wait: Callable[[Callable[[], object]], None]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = open_source(parse_source(f"listen+ws://127.0.0.1:{port}"), SourceOptions(ring_s=8.0))
    source.start()
    try:
        wait(lambda: connect(port) == 101)
        block = (np.sin(np.arange(960) / 10) * 8_000).astype("<i2").tobytes()
        send(port, *[block] * 50)
        wait(lambda: source.ring.available() >= 20_000)
        assert source.status().state == "live"
        source.mute(True)
        wait(lambda: _refuses(port))
        assert source.status().state == "muted"
        source.mute(False)
        wait(lambda: not _refuses(port))
    finally:
        source.stop()


@pytest.fixture
def wait() -> Callable[[Callable[[], object]], None]:
    def until(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                if condition():
                    return
            except aiohttp.ClientConnectionError:
                pass
            assert time.monotonic() < deadline
            time.sleep(0.05)

    return until


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    return False
