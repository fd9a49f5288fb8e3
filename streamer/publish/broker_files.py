"""Files with the URLs and secrets of running embedded brokers, so that another terminal of the same user finds them.

They lie in the run-time folder where the system has one, else in the cache folder. Their owner alone can read them.
"""

import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from streamer.errors import UsageError
from streamer.publish.mqtt_settings import BrokerUrl

_ANSWER_S = 0.5  # a broker on this machine answers within a millisecond or two
# MQTT 3.1.1: CONNECT with a clean session, 5 s keepalive and no client id; how every CONNACK begins; DISCONNECT.
_CONNECT = bytes([0x10, 12, 0, 4]) + b"MQTT" + bytes([4, 2, 0, 5, 0, 0])
_CONNACK = bytes([0x20, 2])
_DISCONNECT = bytes([0xE0, 0])


@dataclass(frozen=True, slots=True)
class _Announced:
    """What one file says."""

    path: Path
    written: float
    url: str
    secret: str = field(repr=False)


def find_broker() -> str | None:
    """Return the URL of the embedded broker that was started last and still answers; None where there is none."""
    for broker in _newest_first():
        with contextlib.suppress(OSError):
            if _answers(broker.url):
                return broker.url
    return None


def find_secret(url: BrokerUrl) -> str | None:
    """Return the secret of this user's embedded broker at `url`; None where none was announced there."""
    place = (url.host, url.port)
    for broker in _newest_first():
        announced = BrokerUrl.parse(broker.url)
        if place in ((announced.host, announced.port), ("localhost", announced.port)):
            return broker.secret or None
    return None


def write_broker_file(url: str, secret: str) -> Path | None:
    """Write a file that says that this process's broker listens at `url`; return its path, or None where that fails.

    Files of brokers that no longer listen, because they were killed, are removed.
    """
    for stale in _newest_first():
        try:
            _answers(stale.url)
        except ConnectionRefusedError:
            stale.path.unlink(missing_ok=True)
        except OSError:
            continue  # it may only be slow
    name = f"{os.getpid()}-{BrokerUrl.parse(url).port}.json"
    for folder in _folders():
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Written to another name and renamed, so that a reader never sees half a file; mkstemp's mode is 0600.
            descriptor, partial = tempfile.mkstemp(dir=folder, suffix=".part")
            with os.fdopen(descriptor, "w") as file:
                json.dump({"url": url, "pid": os.getpid(), "secret": secret}, file)
            os.replace(partial, folder / name)
            return folder / name
    return None


def _folders() -> Iterator[Path]:
    """Yield the folders where files may lie, the best first."""
    # Many servers and containers have no run-time folder, and platformdirs warns about that.
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK | os.X_OK):
        yield Path(runtime) / "streamer" / "brokers"
    yield platformdirs.user_cache_path("streamer") / "brokers"


def _newest_first() -> list[_Announced]:
    found = []
    for folder in _folders():
        with contextlib.suppress(OSError):
            for path in folder.glob("*.json"):
                # Another process may remove it meanwhile, and it may hold anything.
                with contextlib.suppress(
                    OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, UsageError
                ):
                    content = json.loads(path.read_text())
                    if not isinstance(content, dict):
                        continue
                    url, secret = str(content["url"]), str(content.get("secret", ""))
                    BrokerUrl.parse(url)
                    found.append(_Announced(path, path.stat().st_mtime, url, secret))
    return sorted(found, key=lambda broker: broker.written, reverse=True)


def _answers(url: str) -> bool:
    """Return whether what listens at `url` is an MQTT broker. Raises OSError where nothing listens."""
    broker = BrokerUrl.parse(url)
    with socket.create_connection((broker.host, broker.port), _ANSWER_S) as connection:
        if broker.tls:
            return True  # its certificate may be for another name; whoever connects to it checks that
        connection.sendall(_CONNECT)
        answer = connection.recv(len(_CONNACK))  # one that wants a password refuses, which is an answer, too
        with contextlib.suppress(OSError):
            connection.sendall(_DISCONNECT)
        return answer == _CONNACK
