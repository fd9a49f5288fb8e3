"""Raw PCM over TCP and UDP, as microcontrollers send it."""

import ipaddress
import socket
import struct
from typing import Any

import numpy as np

from streamer.sources.address import Address
from streamer.sources.connection import OPEN_TIMEOUT_S, READ_TIMEOUT_S, UNKNOWN_HOST, ConnectionLostError, Received
from streamer.sources.source import Encoding

_DTYPES: dict[Encoding, Any] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
DATAGRAM_BYTES = 65_536  # the largest that UDP carries, rounded up
TCP_BYTES = 16_384
POLL_S = 0.2  # of UDP: how soon its thread sees that the source was closed


class RawSocket:
    """Implements `Connection` for raw PCM: connects to a TCP server, or receives at a UDP address of this machine.

    UDP has no connection to lose: while nothing comes, `read` returns no frames, and the socket stays open. A datagram
    that is lost leaves no trace in raw PCM.
    """

    def __init__(self, address: Address) -> None:
        """Connect or bind.

        Raises:
            ConnectionLostError: it is refused, or nobody answers.
        """
        assert address.pcm is not None
        self.length_s: float | None = None
        self.on_demand = False
        self._pcm = address.pcm
        self._dtype = _DTYPES[address.pcm.encoding]
        self._frame_bytes = self._dtype.itemsize * address.pcm.channels
        self._carried = b""
        self._datagrams = address.scheme == "udp"
        try:
            if self._datagrams:
                self._socket = _bind(address.host, address.port)
                self._socket.settimeout(POLL_S)
            else:
                self._socket = socket.create_connection((address.host, address.port), OPEN_TIMEOUT_S)
                self._socket.settimeout(READ_TIMEOUT_S)
        except OSError as error:
            raise ConnectionLostError(_open_reason(address, error)) from None

    def read(self) -> Received | None:
        """Return the frames that arrived; a TCP frame that arrived in part is kept for the next read."""
        try:
            data = self._socket.recv(DATAGRAM_BYTES if self._datagrams else TCP_BYTES)
        except TimeoutError:
            if self._datagrams:
                return self._received(b"")
            raise ConnectionLostError(f"has sent nothing for {READ_TIMEOUT_S:g} s") from None
        except OSError as error:
            raise ConnectionLostError(f"broke off ({error.strerror})") from None
        if not data and not self._datagrams:
            return None
        if self._datagrams:  # a datagram holds whole frames, or its rest belongs to nothing
            return self._received(data[: len(data) // self._frame_bytes * self._frame_bytes])
        data = self._carried + data
        whole = len(data) // self._frame_bytes * self._frame_bytes
        self._carried = data[whole:]
        return self._received(data[:whole])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _received(self, data: bytes) -> Received:
        frames = np.frombuffer(data, dtype=self._dtype).reshape(-1, self._pcm.channels)
        return Received(frames, float(self._pcm.rate_hz))


def _bind(host: str, port: int) -> socket.socket:
    """Return a UDP socket that receives at `host`; a multicast group is joined."""
    family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    receiver = socket.socket(family, kind, protocol)
    try:
        group = ipaddress.ip_address(where[0])
        if group.is_multicast and group.version == 4:
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            member = struct.pack("4s4s", group.packed, socket.inet_aton("0.0.0.0"))
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        receiver.bind(where)
    except OSError:
        receiver.close()
        raise
    return receiver


def _open_reason(address: Address, error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refuses the connection; start its server"
    if isinstance(error, TimeoutError):
        return f"did not answer within {OPEN_TIMEOUT_S:g} s"
    if isinstance(error, socket.gaierror):
        return UNKNOWN_HOST
    if address.scheme == "udp":
        return f"cannot be received at ({error.strerror}); name an address of this machine and a free port"
    return f"cannot be reached ({error.strerror})"
