"""Files in the cache folder with the URLs of running embedded brokers, so that another terminal finds them."""

import contextlib
import json
import os
import socket
import tempfile
from pathlib import Path

import platformdirs

from streamer.errors import UsageError
from streamer.publish.mqtt_settings import BrokerUrl

_ANSWER_S = 0.5  # a broker on this machine answers within a millisecond or two
# MQTT 3.1.1: CONNECT with a clean session, 5 s keepalive and no client id; CONNACK that accepts it; DISCONNECT.
_CONNECT = bytes([0x10, 12, 0, 4]) + b"MQTT" + bytes([4, 2, 0, 5, 0, 0])
_CONNACK = bytes([0x20, 2, 0, 0])
_DISCONNECT = bytes([0xE0, 0])


def find_broker() -> str | None:
    """Return the URL of the embedded broker that was started last and still answers; None where there is none."""
    for _, url in _newest_first():
        with contextlib.suppress(OSError):
            if _answers(url):
                return url
    return None


def write_broker_file(url: str) -> Path | None:
    """Write a file that says that this process's broker listens at `url`; return its path, or None where that fails.

    Files of brokers that no longer listen, because they were killed, are removed.
    """
    for stale, old in _newest_first():
        try:
            _answers(old)
        except ConnectionRefusedError:
            stale.unlink(missing_ok=True)
        except OSError:
            continue  # it may only be slow
    folder = _folder()
    path = folder / f"{os.getpid()}-{BrokerUrl.parse(url).port}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Written to another name and renamed, so that a reader never sees half a file.
        descriptor, partial = tempfile.mkstemp(dir=folder, suffix=".part")
        with os.fdopen(descriptor, "w") as file:
            json.dump({"url": url, "pid": os.getpid()}, file)
        os.replace(partial, path)
    except OSError:
        return None
    return path


def _folder() -> Path:
    # Not the run-time folder: many servers and containers have none, and platformdirs warns about that.
    return platformdirs.user_cache_path("streamer") / "brokers"


def _newest_first() -> list[tuple[Path, str]]:
    found: list[tuple[float, Path, str]] = []
    with contextlib.suppress(OSError):
        for path in _folder().glob("*.json"):
            # Another process may remove it meanwhile, and it may hold anything.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, UsageError):
                url = json.loads(path.read_text())["url"]
                BrokerUrl.parse(url)
                found.append((path.stat().st_mtime, path, url))
    return [(path, url) for _, path, url in sorted(found, reverse=True)]


def _answers(url: str) -> bool:
    """Return whether what listens at `url` is an MQTT broker. Raises OSError where nothing listens."""
    broker = BrokerUrl.parse(url)
    with socket.create_connection((broker.host, broker.port), _ANSWER_S) as connection:
        connection.sendall(_CONNECT)
        answer = connection.recv(len(_CONNACK))
        connection.sendall(_DISCONNECT)
        return answer == _CONNACK
