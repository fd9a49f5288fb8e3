"""A small RTSP server of our own, for what Debian's cannot: audio inside TCP, passwords, lost packets."""

import base64
import contextlib
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self

import numpy as np

from streamer.constants import SAMPLE_RATE

PACKET_FRAMES = 480  # 20 ms
PAYLOAD_TYPE = 97
FIRST_TIMESTAMP = 12_345  # FFmpeg takes 0 for "none yet", and the second packet for the first


class InterleavedRtsp:
    """Sends `noise` ([n] int16) as L16 at 24 kHz to each client that plays, from its beginning and in real time.

    Attributes:
        drop: numbers of the packets that are left out.
        transports: the Transport header of every SETUP.
    """

    def __init__(self, noise: np.ndarray, user: str = "", password: str = "") -> None:
        self._noise = noise.astype(">i2")
        self._token = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._server = socket.create_server(("127.0.0.1", 0))
        self._closing = threading.Event()
        self.drop: frozenset[int] = frozenset()
        self.transports: list[str] = []
        self.url = f"rtsp://127.0.0.1:{self._server.getsockname()[1]}/noise"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._closing.set()
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, client.makefile("rb") as lines:
            while request := lines.readline().decode():
                headers = dict(line.split(": ", 1) for line in iter(lambda: lines.readline().decode().strip(), ""))
                if self._token and headers.get("Authorization") != f"Basic {self._token}":
                    self._answer(client, headers, "401 Unauthorized", 'WWW-Authenticate: Basic realm="yard"')
                    continue
                method = request.split()[0]
                if method == "DESCRIBE":
                    self._answer(client, headers, "200 OK", "Content-Type: application/sdp", body=self._description())
                elif method == "SETUP":
                    self._set_up(client, headers)
                elif method == "PLAY":
                    self._answer(client, headers, "200 OK", "Session: 1")
                    threading.Thread(target=self._send, args=(client,), daemon=True).start()
                else:
                    self._answer(client, headers, "200 OK", "Public: DESCRIBE, SETUP, PLAY, TEARDOWN")

    def _set_up(self, client: socket.socket, headers: dict[str, str]) -> None:
        self.transports.append(headers["Transport"])
        if "TCP" in headers["Transport"]:
            self._answer(client, headers, "200 OK", "Session: 1", f"Transport: {headers['Transport']}")
        else:
            self._answer(client, headers, "461 Unsupported Transport")

    def _answer(self, client: socket.socket, asked: dict[str, str], status: str, *headers: str, body: str = "") -> None:
        lines = [f"RTSP/1.0 {status}", f"CSeq: {asked['CSeq']}", *headers, f"Content-Length: {len(body)}", "", body]
        client.sendall("\r\n".join(lines).encode())

    def _description(self) -> str:
        return (
            f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=noise\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
            f"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:picture\r\n"
            f"m=audio 0 RTP/AVP {PAYLOAD_TYPE}\r\na=rtpmap:{PAYLOAD_TYPE} L16/{SAMPLE_RATE}/1\r\na=control:sound\r\n"
        )

    def _send(self, client: socket.socket) -> None:
        begun = time.monotonic()
        for number in range(len(self._noise) // PACKET_FRAMES):
            start = number * PACKET_FRAMES
            time.sleep(max(0.0, begun + start / SAMPLE_RATE - time.monotonic()))
            if self._closing.is_set():
                return
            if number in self.drop:
                continue
            header = struct.pack(">BBHII", 0x80, PAYLOAD_TYPE, number % 2**16, FIRST_TIMESTAMP + start, 1)
            packet = header + self._noise[start : start + PACKET_FRAMES].tobytes()
            try:
                client.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)
            except OSError:
                return
