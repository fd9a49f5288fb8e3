"""Whether a name means this machine: what a server on loopback asks before it trusts a browser.

A page of somebody else can make a browser on this machine connect to loopback: under its own name (DNS rebinding), so
`Host` must name loopback; or across origins, so `Origin`, which browsers always send with a WebSocket, must too.
"""

import contextlib
import ipaddress
from urllib.parse import urlsplit


def is_loopback_name(name: str) -> bool:
    """Return whether `name` is `localhost` or an address of loopback."""
    if name == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return False


def host_of(authority: str) -> str:
    """Return the host in `HOST:PORT`, as the header `Host` has it; empty where there is none."""
    with contextlib.suppress(ValueError):
        return urlsplit(f"//{authority}").hostname or ""
    return ""


def host_of_origin(origin: str) -> str:
    """Return the host of an `Origin` such as `http://localhost:8080`; empty where it has none (`null`)."""
    with contextlib.suppress(ValueError):
        return urlsplit(origin).hostname or ""
    return ""
