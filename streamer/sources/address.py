"""Parse the URL of a network source: what is opened, what may be shown, and what is secret.

This module is light. A URL's user, password and query never leave it but in `Address.open_url`.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import get_args
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from streamer.errors import UsageError
from streamer.names import slugify
from streamer.sources.source import Encoding, PcmFormat

LISTEN = "listen+ws"  # a WebSocket server of our own, for a browser's microphone
SCHEMES = ("rtsp", "rtsps", "http", "https", "rtp", "udp", "tcp", "srt", "rtmp", "rtmps", LISTEN)
RAW_SCHEMES = ("tcp", "udp")
_NEED_A_PORT = ("rtp", "udp", "tcp", "srt", LISTEN)
_PCM_KEYS = frozenset({"format", "rate", "channels"})
_EXAMPLE = "tcp://192.168.1.7:5000?format=s16le&rate=16000"
# Some cameras take the password in the path: rtsp://camera/user=admin&password=secret&channel=1
_SECRET_IN_PATH = re.compile(r"(pass\w*|pwd|token|secret|key|auth\w*|sig\w*)=[^/;&]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a network source is. `label` and `name` may be shown; everything else may hold secrets."""

    scheme: str  # of SCHEMES, or "sdp": the path of a session description
    label: str  # scheme, host, port and path, without credentials and query
    name: str  # the stream's name unless another one is given
    host: str = ""
    port: int = 0
    pcm: PcmFormat | None = None  # of raw PCM over tcp or udp; None: FFmpeg finds out what it is
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    url: str = field(default="", repr=False)  # without user and password; the query may hold secrets

    @property
    def lacks_password(self) -> bool:
        """The URL names a user and no password."""
        return bool(self.user) and not self.password

    def with_password(self, password: str) -> "Address":
        """Return the address with `password` for the user that the URL names."""
        return replace(self, password=password)

    def open_url(self) -> str:
        """Return the URL with its credentials, for the library that opens it and for nothing else."""
        if not self.user:
            return self.url
        credentials = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@"
        return self.url.replace("://", f"://{credentials}", 1)

    def redact(self, text: str) -> str:
        """Return `text` without anything of this address that is secret."""
        query = self.url.partition("?")[2]
        for secret in (self.open_url(), self.url):
            text = text.replace(secret, self.label) if secret else text
        for secret in sorted({self.password, quote(self.password, safe=""), query} - {""}, key=len, reverse=True):
            text = text.replace(secret, "…")
        return text


def is_address(text: str) -> bool:
    """Return whether `text` is meant as a URL or as the path of a session description (SDP)."""
    return "://" in text or text.lower().endswith(".sdp")


def parse_address(text: str) -> Address:
    """Parse the URL of a network source, or the path of an SDP file.

    Raises:
        UsageError: the scheme is not known, the host or the port is missing, or raw PCM is not described whole. The
            message holds no credentials.
    """
    if "://" not in text:
        return Address("sdp", PurePath(text).name, slugify(PurePath(text).stem), url=text)
    scheme = text.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise UsageError(f"There is no way to open {scheme}:// sources; write one of {', '.join(SCHEMES)}.")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # its message would quote the URL
        raise UsageError(f"The {scheme}:// URL cannot be read; write {scheme}://HOST:PORT/PATH.") from None
    host = parts.hostname or ""
    if not host:
        raise UsageError(f"The {scheme}:// URL names no host; write {scheme}://HOST:PORT/PATH.")
    shown_host = f"[{host}]" if ":" in host else host
    place = shown_host if port is None else f"{shown_host}:{port}"
    if port is None and scheme in _NEED_A_PORT:
        raise UsageError(f"{scheme}://{place} names no port; write {scheme}://{place}:PORT.")
    path = _SECRET_IN_PATH.sub(r"\1=…", parts.path.rstrip("/"))
    return Address(
        scheme=scheme,
        label=f"{scheme}://{place}{path}",
        name="browser" if scheme == LISTEN else slugify(f"{host}{path}", empty=scheme),
        host=host,
        port=port or 0,
        pcm=_pcm(scheme, parts, f"{scheme}://{place}"),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        url=parts._replace(scheme=scheme, netloc=place).geturl(),
    )


def _pcm(scheme: str, parts: SplitResult, shown: str) -> PcmFormat | None:
    """Return the format that the query describes; None where it describes none."""
    given = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if scheme not in RAW_SCHEMES or not _PCM_KEYS & given.keys():
        return None
    encoding = given.get("format", "s16le")
    if encoding not in get_args(Encoding):
        raise UsageError(f"{shown}: format={encoding} is not raw PCM; write {' or '.join(get_args(Encoding))}.")
    if "rate" not in given:
        raise UsageError(f"{shown}: raw PCM needs its sample rate; write {_EXAMPLE}.")
    numbers = (given["rate"], given.get("channels", "1"))
    if not all(number.isdecimal() and int(number) for number in numbers):
        raise UsageError(f"{shown}: rate and channels are whole numbers above zero; write {_EXAMPLE}&channels=1.")
    return PcmFormat(encoding, int(numbers[0]), int(numbers[1]))  # type: ignore[arg-type]
