"""Audio from a URL through PyAV: RTSP, HTTP (Icecast, HLS), RTP, UDP, TCP and what else FFmpeg opens."""

import errno
import socket
import ssl
from collections.abc import Generator

import av
import av.error
from av.stream import Discard

from streamer.audio.timestamps import Timestamps
from streamer.decoding.decoder import to_float
from streamer.sources.address import Address
from streamer.sources.connection import OPEN_TIMEOUT_S, READ_TIMEOUT_S, UNKNOWN_HOST, ConnectionLostError, Received

HLS_TIMEOUT_S = 20.0  # segments come every 2 to 10 s, and the supervisor sees by itself that nothing is left to play
ANALYZE_US = 1_000_000  # how much audio FFmpeg looks at before it names the codec; its default is 5 s

# Protocols that a source of each scheme may use. Only a session description is a file: no stream may name one, as a
# playlist could that any server sends.
_OVER_HTTP = "http,https,httpproxy,tls,tcp,crypto,data"
_OVER_RTSP = "rtsp,rtp,srtp,udp,tcp,tls,http,https"
_OVER_RTMP = "rtmp,rtmpe,rtmps,rtmpt,rtmpts,ffrtmphttp,ffrtmpcrypt,tcp,tls,http,https"
_CERTIFICATE_CURE = "if its certificate is self-signed, set SSL_CERT_FILE to a file with its authority"
_UNSEEKABLE = (
    "has its index at its end, and its server cannot send a part of a file; make it anew with "
    "`ffmpeg -i OLD -c copy -movflags +faststart NEW`, or download it"
)
_PROTOCOLS = {
    "rtsp": _OVER_RTSP,
    "rtsps": _OVER_RTSP,
    "http": _OVER_HTTP,
    "https": _OVER_HTTP,
    "sdp": "file,rtp,srtp,udp",
    "rtp": "rtp,srtp,udp",
    "udp": "udp",
    "tcp": "tcp",
    "srt": "srt,udp",
    "rtmp": _OVER_RTMP,
    "rtmps": _OVER_RTMP,
}
_HTTP_REASONS: dict[type[Exception], str] = {
    av.error.HTTPUnauthorizedError: "refuses the user or the password (401); write user@ in the URL and set "
    "STREAMER_SOURCE_PASSWORD or source_password_file",
    av.error.HTTPForbiddenError: "forbids access (403); check what the user may do there",
    av.error.HTTPNotFoundError: "does not exist at its server (404); check the path",
}
_PERMANENT_REASONS: dict[type[Exception], str] = _HTTP_REASONS | {
    av.error.ProtocolNotFoundError: "needs a protocol that this PyAV was built without; relay it with "
    "`ffmpeg -i URL -f wav - | streamer run -`",
    av.error.DecoderNotFoundError: "has a codec that this PyAV cannot decode; choose another one at the server",
    av.error.FileNotFoundError: "does not exist; check the path",
}


class AvOpener:
    """Opens the same URL again and again; call it once an attempt.

    RTSP is tried over TCP first, as cameras offer it and firewalls let it pass, then over UDP: at once where the server
    refuses TCP, else in turns until one of them has delivered audio.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._over_tcp = True
        self._newest: AvConnection | None = None
        self._delivered = False
        self._tried = False

    def __call__(self) -> "AvConnection":
        """Return an open connection.

        Raises:
            ConnectionLostError: it cannot be opened, or holds no audio.
        """
        self._delivered = self._delivered or (self._newest is not None and self._newest.delivered)
        if self._tried and not self._delivered:
            self._over_tcp = not self._over_tcp
        self._newest, self._tried = None, True
        try:
            self._newest = AvConnection(self._address, self._over_tcp)
        except _TransportRefusedError:
            self._over_tcp = False
            self._newest = AvConnection(self._address, self._over_tcp)
        return self._newest


class _TransportRefusedError(ConnectionLostError):
    """The server does not send RTSP's audio over TCP."""


class AvConnection:
    """Implements `Connection` for a URL that FFmpeg opens: its first audio track, decoded at its own rate."""

    def __init__(self, address: Address, over_tcp: bool = True) -> None:
        """Open the URL; blocks, for `OPEN_TIMEOUT_S` at the most.

        `over_tcp` concerns RTSP: audio inside the connection that controls it, else UDP beside it.

        Raises:
            ConnectionLostError: it cannot be opened, or holds no audio.
        """
        read_timeout_s = HLS_TIMEOUT_S if ".m3u8" in address.url.lower() else READ_TIMEOUT_S
        try:
            self._container = av.open(
                address.open_url(),
                options=_options(address, over_tcp),
                timeout=(OPEN_TIMEOUT_S, read_timeout_s),
                metadata_errors="replace",  # a radio's song titles are in any encoding
            )
        except (av.error.HTTPBadRequestError, av.error.HTTPOtherClientError) as error:  # 400, or 461 as it should be
            lost = _lost(error, opening=True)
            raise (_TransportRefusedError(str(lost)) if _is_rtsp(address) and over_tcp else lost) from None
        except (OSError, av.error.FFmpegError) as error:
            lost = _lost(error, opening=True)
            if getattr(error, "errno", None) == errno.EIO and not _is_known(address.host):  # FFmpeg says no more
                lost = ConnectionLostError(UNKNOWN_HOST)
            elif address.scheme == "https" and type(error) is av.error.OSError:  # what a refused certificate looks like
                lost = ConnectionLostError(f"{lost}; {_CERTIFICATE_CURE}")
            raise lost from None
        if not self._container.streams.audio:
            self._container.close()
            raise ConnectionLostError("has no audio track; turn audio on at the source, or name another URL", True)
        for stream in self._container.streams:
            if stream.type != "audio":
                stream.discard = Discard.all
        hls = "hls" in self._container.format.name
        duration_us = self._container.duration
        # Without a size, a length is only what the header of an endless WAV claims.
        whole = bool(duration_us) and (hls or self._container.size > 0)
        self.length_s = duration_us / 1e6 if duration_us and whole else None
        self.on_demand = hls or whole
        self.delivered = False
        self._received = self._decode()

    def read(self) -> Received | None:
        """Return the next frames, [n, channels] float32; None at the end of the stream."""
        try:
            received = next(self._received, None)
            self.delivered = self.delivered or received is not None
            return received
        except (OSError, av.error.FFmpegError) as error:
            if self.length_s is not None and not self.delivered and type(error) is av.error.OSError:
                raise ConnectionLostError(_UNSEEKABLE, permanent=True) from None
            raise _lost(error, opening=False) from None

    def close(self) -> None:
        """Close the connection."""
        self._received.close()
        self._container.close()

    def _decode(self) -> Generator[Received, None, None]:
        """Decode packet by packet; what the decoder refuses is skipped, and the frames after it are `broken`."""
        stream = self._container.streams.audio[0]
        refused = False
        timestamps = Timestamps(self._container.format.name)
        for packet in self._container.demux(stream):
            refused = refused or packet.is_corrupt
            try:
                frames = packet.decode()
            except av.error.EOFError:
                continue
            except av.error.FFmpegError:
                refused = True
                continue
            for frame in frames:
                if not frame.samples or not frame.sample_rate:
                    continue
                length_s = frame.samples / frame.sample_rate
                broken = timestamps.breaks(frame.time, length_s) or refused
                refused = False
                yield Received(to_float(frame), float(frame.sample_rate), broken)


def _is_known(host: str) -> bool:
    """Return whether a host has an address; a URL without one has nothing to look up."""
    try:
        socket.getaddrinfo(host.strip("[]"), None)
    except (OSError, UnicodeError):
        return not host
    return True


def _is_rtsp(address: Address) -> bool:
    return address.scheme in ("rtsp", "rtsps")


def _options(address: Address, over_tcp: bool) -> dict[str, str]:
    options = {"analyzeduration": str(ANALYZE_US), "protocol_whitelist": _PROTOCOLS[address.scheme]}
    if _is_rtsp(address):
        options["allowed_media_types"] = "audio"  # video is never set up, so the camera sends none
        options["rtsp_flags" if over_tcp else "rtsp_transport"] = "prefer_tcp" if over_tcp else "udp"
    authorities = ssl.get_default_verify_paths().cafile
    if address.scheme == "https" and authorities:  # FFmpeg verifies nobody by itself, and cameras sign for themselves
        options |= {"tls_verify": "1", "ca_file": authorities}
    return options


def _lost(error: Exception, opening: bool) -> ConnectionLostError:
    """Return why a connection failed. PyAV's own message holds the URL with its credentials, so it is not quoted."""
    for kind, reason in _PERMANENT_REASONS.items():
        if isinstance(error, kind):
            return ConnectionLostError(reason, permanent=True)
    if isinstance(error, av.error.ExitError | av.error.TimeoutError):
        if opening:
            return ConnectionLostError(f"did not answer within {OPEN_TIMEOUT_S:g} s")
        return ConnectionLostError(f"has sent nothing for {READ_TIMEOUT_S:g} s")
    if isinstance(error, av.error.ConnectionRefusedError):
        return ConnectionLostError("refuses the connection; start its server")
    if isinstance(error, av.error.EOFError):
        return ConnectionLostError("ended before any audio came")
    if isinstance(error, av.error.InvalidDataError) and opening:
        return ConnectionLostError("delivers nothing that is audio; check the URL (RTP needs its .sdp file)")
    strerror = getattr(error, "strerror", None) or type(error).__name__
    return ConnectionLostError(f"{'cannot be opened' if opening else 'broke off'} ({strerror})")
