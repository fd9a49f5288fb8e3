"""Audio from a URL through PyAV: RTSP, HTTP (Icecast, HLS), RTP, UDP, TCP and what else FFmpeg opens."""

from collections.abc import Generator
from typing import Any

import av
import av.error
import numpy as np
from av.stream import Discard

from streamer.arrays import Samples
from streamer.audio.address import Address
from streamer.audio.connection import OPEN_TIMEOUT_S, READ_TIMEOUT_S, ConnectionLostError, Received

HLS_TIMEOUT_S = 20.0  # segments come every 2 to 10 s, and the supervisor sees by itself that nothing is left to play
ANALYZE_US = 1_000_000  # how much audio FFmpeg looks at before it names the codec; its default is 5 s
# How far a timestamp may lie beside the end of the frame before, in frames and at least in seconds. Of RTP a lost packet
# is noticed: its timestamps were seen to jitter by 5 ms of 20 ms. Other formats come over connections that lose nothing;
# the first AAC frames of MPEG-TS are one frame off, and what counts is a segment of HLS that was skipped.
RTP_TOLERANCE = (0.75, 0.015)
TOLERANCE = (3.0, 0.1)
OGG_UNSURE_S = 1.0  # joined in the middle, Ogg knows its position from the second page on; what comes is whole anyway

_OVER_HTTP = "http,https,httpproxy,tls,tcp,crypto,data"  # no `file`: a playlist must not name files of this machine
_PROTOCOLS = {
    "rtsp": "rtsp,rtp,srtp,udp,tcp,tls,http,https",
    "rtsps": "rtsp,rtp,srtp,udp,tcp,tls,http,https",
    "http": _OVER_HTTP,
    "https": _OVER_HTTP,
    "sdp": "file,rtp,srtp,udp",
    "rtp": "rtp,udp",
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
                address.open_url(), options=_options(address, over_tcp), timeout=(OPEN_TIMEOUT_S, read_timeout_s)
            )
        except (av.error.HTTPBadRequestError, av.error.HTTPOtherClientError) as error:  # 400, or 461 as it should be
            lost = _lost(error, opening=True)
            raise (_TransportRefusedError(str(lost)) if _is_rtsp(address) and over_tcp else lost) from None
        except (OSError, av.error.FFmpegError) as error:
            raise _lost(error, opening=True) from None
        if not self._container.streams.audio:
            self._container.close()
            raise ConnectionLostError("has no audio track; turn audio on at the source, or name another URL", True)
        for stream in self._container.streams:
            if stream.type != "audio":
                stream.discard = Discard.all
        duration_us = self._container.duration
        self.length_s = duration_us / 1e6 if duration_us else None
        self.on_demand = self.length_s is not None or "hls" in self._container.format.name
        self.delivered = False
        self._received = self._decode()

    def read(self) -> Received | None:
        """Return the next frames, [n, channels] float32; None at the end of the stream."""
        try:
            received = next(self._received, None)
            self.delivered = self.delivered or received is not None
            return received
        except (OSError, av.error.FFmpegError) as error:
            raise _lost(error, opening=False) from None

    def close(self) -> None:
        """Close the connection."""
        self._received.close()
        self._container.close()

    def _decode(self) -> Generator[Received, None, None]:
        """Decode packet by packet; what the decoder refuses is skipped, and the frames after it are `broken`."""
        stream = self._container.streams.audio[0]
        to_float: av.AudioResampler | None = None
        given: tuple[str, str, int] | None = None
        refused = False
        due_s: float | None = None  # timestamp of the next frame if it follows directly
        format_name = self._container.format.name
        unsure_s = OGG_UNSURE_S if "ogg" in format_name else 0.0
        frames_off, seconds_off = RTP_TOLERANCE if format_name in ("rtsp", "sdp", "rtp") else TOLERANCE
        for packet in self._container.demux(stream):
            refused = refused or packet.is_corrupt
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                refused = True
                continue
            for frame in frames:
                kind = (frame.format.name, frame.layout.name, frame.sample_rate)
                if to_float is None or kind != given:  # a new track of an Ogg stream may have another format
                    to_float, given = av.AudioResampler(format="flt", layout=frame.layout.name), kind
                length_s = frame.samples / frame.sample_rate
                tolerance_s = max(frames_off * length_s, seconds_off)
                broken = refused or (unsure_s <= 0 and _jumps(due_s, frame.time, tolerance_s))
                refused = False
                unsure_s -= length_s
                due_s = None if frame.time is None else frame.time + length_s
                yield Received(_samples(to_float, frame), float(frame.sample_rate), broken)


def _jumps(due_s: float | None, time_s: float | None, tolerance_s: float) -> bool:
    """Return whether a frame's timestamp says that it does not follow the frame before it."""
    return due_s is not None and time_s is not None and abs(time_s - due_s) > tolerance_s


def _samples(to_float: "av.AudioResampler", frame: "av.AudioFrame") -> Samples:
    """Return a frame as [n, channels] float32."""
    channels = len(frame.layout.channels)
    parts = [part.to_ndarray().reshape(-1, channels) for part in to_float.resample(frame)]
    return np.concatenate(parts) if parts else np.zeros((0, channels), dtype=np.float32)


def _is_rtsp(address: Address) -> bool:
    return address.scheme in ("rtsp", "rtsps")


def _options(address: Address, over_tcp: bool) -> dict[str, str]:
    options: dict[str, Any] = {"analyzeduration": str(ANALYZE_US)}
    if address.scheme in _PROTOCOLS:
        options["protocol_whitelist"] = _PROTOCOLS[address.scheme]
    if _is_rtsp(address):
        options["allowed_media_types"] = "audio"  # video is never set up, so the camera sends none
        options["rtsp_flags" if over_tcp else "rtsp_transport"] = "prefer_tcp" if over_tcp else "udp"
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
        return ConnectionLostError("delivers nothing that is audio; check the URL")
    strerror = getattr(error, "strerror", None) or type(error).__name__
    return ConnectionLostError(f"{'cannot be opened' if opening else 'broke off'} ({strerror})")
