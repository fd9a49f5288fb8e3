"""Raw PCM over TCP and UDP, through real sockets of the loopback interface."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from streamer.sources import sockets
from streamer.sources.address import parse_address
from streamer.sources.connection import ConnectionLostError
from streamer.sources.open import open_source, parse_source
from streamer.sources.sockets import RawSocket
from tests.sources.playing import wait_for
from tests.support.real_broker import free_port


@contextlib.contextmanager
def tcp_server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def url_of(server: socket.socket, query: str = "format=s16le&rate=16000") -> str:
    return f"tcp://127.0.0.1:{server.getsockname()[1]}?{query}"


@pytest.mark.parametrize(
    ("query", "dtype", "channels"),
    [("rate=16000", "<i2", 1), ("format=f32le&rate=48000&channels=2", "<f4", 2)],
)
def test_frames_come_whole_however_tcp_divides_them(query: str, dtype: str, channels: int) -> None:
    frames = (np.arange(4000).reshape(-1, channels)).astype(dtype)
    with tcp_server() as server:
        connection = RawSocket(parse_address(url_of(server, query)))
        peer, _ = server.accept()

        def send() -> None:
            data = frames.tobytes()
            for start in range(0, len(data), 1001):
                peer.sendall(data[start : start + 1001])
                time.sleep(0.001)
            peer.close()

        threading.Thread(target=send).start()
        blocks = list(iter(connection.read, None))
        connection.close()
    assert np.array_equal(np.concatenate([block.frames for block in blocks if block]), frames)


def test_a_server_that_is_silent_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "READ_TIMEOUT_S", 0.2)
    with tcp_server() as server:
        connection = RawSocket(parse_address(url_of(server)))
        with pytest.raises(ConnectionLostError, match=r"has sent nothing for 0\.2 s"):
            connection.read()
        connection.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("tcp://127.0.0.1:PORT?rate=16000", "refuses the connection; start its server"),
        ("udp://192.0.2.1:5000?rate=16000", "cannot be received at .*; name an address of this machine"),
    ],
)
def test_what_cannot_be_opened_says_why(url: str, reason: str) -> None:
    with pytest.raises(ConnectionLostError, match=reason):
        RawSocket(parse_address(url.replace("PORT", str(free_port()))))


def test_datagrams_are_frames_and_their_absence_ends_nothing() -> None:
    port = free_port()
    connection = RawSocket(parse_address(f"udp://127.0.0.1:{port}?rate=16000"))
    nothing = connection.read()
    assert nothing is not None
    assert len(nothing.frames) == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(np.arange(160, dtype="<i2").tobytes() + b"x", ("127.0.0.1", port))
    received = connection.read()
    assert received is not None
    assert received.frames[:, 0].tolist() == list(range(160))
    connection.close()


def test_a_microcontroller_that_sends_datagrams_is_a_source_that_comes_back() -> None:
    port = free_port()
    source = open_source(parse_source(f"udp://127.0.0.1:{port}?format=s16le&rate=24000"))
    source.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        block = np.full(480, 1000, dtype="<i2").tobytes()

        def send_until(state: str) -> None:
            def arrived() -> bool:
                sender.sendto(block, ("127.0.0.1", port))
                time.sleep(0.02)
                return source.status().state == state

            wait_for(arrived, 10.0)

        send_until("live")
        stopped_s = time.monotonic()
        wait_for(lambda: source.status().state == "source lost", 6.0)
        assert time.monotonic() - stopped_s < 5.0
        send_until("live")
    source.stop()
    assert source.ring.stats().gaps >= 1
    assert source.status().state == "ended"


def test_mute_closes_the_connection_and_unmute_makes_a_new_one() -> None:
    with tcp_server() as server:
        source = open_source(parse_source(url_of(server, "format=s16le&rate=24000")))
        source.start()
        for _ in range(2):
            peer, _ = server.accept()
            peer.settimeout(5.0)
            peer.sendall(np.full(2400, 1000, dtype="<i2").tobytes())
            wait_for(lambda: source.status().state == "live")
            source.mute(True)
            wait_for(lambda: source.status().state == "muted")
            peer.sendall(bytes(960))  # its thread waits for audio, and sees only then that it shall close
            assert peer.recv(1) == b""
            peer.close()
            source.mute(False)
        source.stop()
    assert source.ring.stats().written == 4800


def test_a_file_that_is_sent_as_fast_as_it_goes_is_jumped_over_and_said() -> None:
    with tcp_server() as server:
        source = open_source(parse_source(url_of(server, "format=s16le&rate=24000")))
        source.start()
        peer, _ = server.accept()
        peer.sendall(np.zeros(24_000 * 60, dtype="<i2").tobytes())
        wait_for(lambda: "faster than real time, and they were jumped over" in source.status().detail)
        peer.close()
        wait_for(lambda: source.status().state == "source lost")
        source.stop()
    assert 4 * 24_000 < source.ring.stats().written < 6 * 24_000
