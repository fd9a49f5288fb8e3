"""An address and a port to listen on, as users write them."""

import ipaddress
import socket
from dataclasses import dataclass
from typing import Self

from streamer.errors import UsageError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a server listens."""

    address: str  # of IP
    port: int  # 0: the system chooses

    @classmethod
    def parse(cls, text: str, setting: str) -> Self:
        """Return what `PORT` (on loopback), `ADDRESS:PORT` or `[IPv6]:PORT` says.

        Args:
            text: the value.
            setting: the key or the option it comes from, for the message.

        Raises:
            UsageError: it is none of these.
        """
        address, colon, port = text.strip().rpartition(":")
        address = address.removeprefix("[").removesuffix("]") if colon else LOOPBACK
        address = LOOPBACK if address == "localhost" else address
        try:
            ipaddress.ip_address(address)
            if not (port.isascii() and port.isdigit() and int(port) <= 65_535):
                raise ValueError(port)
        except ValueError:
            raise UsageError(
                f"{setting} = {text!r} is no place to listen; write a port (9100), 127.0.0.1:9100 or [::1]:9100."
            ) from None
        return cls(address, int(port))

    @property
    def family(self) -> socket.AddressFamily:
        """Of the socket."""
        return socket.AF_INET6 if ":" in self.address else socket.AF_INET

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return ipaddress.ip_address(self.address).is_loopback

    def __str__(self) -> str:
        return f"{f'[{self.address}]' if ':' in self.address else self.address}:{self.port}"
