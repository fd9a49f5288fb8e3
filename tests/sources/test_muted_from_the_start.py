"""Every kind of source that is muted before it starts captures nothing until it is unmuted."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamer.sources.open import SourceOptions, open_source, parse_source
from streamer.sources.portaudio import PortAudio
from streamer.sources.source import PcmFormat, Source
from tests.sources.fake_sounddevice import FakeSounddevice, device
from tests.support.real_broker import eventually


@dataclass
class Kind:
    """A source, and how often its device or server was opened."""

    source: Source
    opened: Callable[[], int]


class Server:
    """Sends a tone to everybody who connects."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        tone = (8_000 * np.sin(np.arange(1_600) / 5)).astype("<i2").tobytes()
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                try:
                    while True:
                        connection.sendall(tone)
                        time.sleep(0.1)
                except OSError:
                    continue

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.fixture(params=["microphone", "recording", "pipe", "network"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    tone = (0.3 * np.sin(np.arange(48_000) / 5)).astype(np.float32)
    with ExitStack() as stack:
        match request.param:
            case "microphone":
                fake = FakeSounddevice([device("Yeti")])
                source = open_source(parse_source("mic"), portaudio=PortAudio(lambda: fake))
                made = Kind(source, lambda: len(fake.streams))
            case "recording":
                soundfile.write(tmp_path / "talk.wav", tone, 24_000)
                made = Kind(open_source(parse_source(str(tmp_path / "talk.wav"))), lambda: 0)
            case "pipe":
                pcm = SourceOptions(pcm=PcmFormat("s16le", 24_000))
                made = Kind(open_source(parse_source("-"), pcm, stdin=Dripping(tone)), lambda: 0)
            case _:
                server = Server()
                stack.callback(server.close)
                url = f"tcp://127.0.0.1:{server.port}?format=s16le&rate=16000"
                made = Kind(open_source(parse_source(url)), lambda: server.connections)
        stack.callback(made.source.stop)
        yield made


class Dripping(io.RawIOBase):
    """A pipe into which another program writes raw PCM for ever, in real time."""

    def __init__(self, samples: np.ndarray) -> None:
        self._block = (samples[:2_400] * 32_767).astype("<i2").tobytes()

    def readable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        time.sleep(0.05)
        size = min(len(buffer), len(self._block))
        buffer[:size] = self._block[:size]
        return size


def test_nothing_is_captured_until_it_is_unmuted(kind: Kind) -> None:
    kind.source.mute(True)
    kind.source.start()
    eventually(lambda: kind.source.status().state == "muted", 10)
    time.sleep(0.5)
    assert (kind.source.ring.stats().written, kind.opened()) == (0, 0)
    kind.source.mute(False)
    if kind.source.name == "mic":
        eventually(lambda: kind.opened() == 1, 10)
    else:
        eventually(lambda: kind.source.ring.stats().written > 0, 10)
