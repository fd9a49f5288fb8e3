"""Decode one recording with FFmpeg's libraries (PyAV), packet by packet.

PyAV's own decoding loop ends at the first packet that a decoder refuses. Here such a packet is skipped and counted, as
the program `ffmpeg` does. Importing this module takes 19 MB and 0.06 to 0.14 s, so it is imported where a recording
is opened, and nowhere else.

An MP3 without an info frame (Xing, LAME) does not state its encoder's delay: it starts 1,105 samples late (576 of the
usual encoder and 529 of every decoder), which are kept, since a piece of a longer MP3 has none of them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import av
import numpy as np
import numpy.typing as npt
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import EOFError as EndOfStream
from av.error import FFmpegError

from streamer.decoding.frame_headers import adts_frame_bytes, is_tag_or_padding, mpeg_frame_bytes
from streamer.errors import StreamerError

Samples2D = npt.NDArray[np.float32]  # [n, channels]

# What a recording can be. Playlists and the like are left out: they make FFmpeg open other files and addresses.
DEMUXERS = (
    "3gp,aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,avr,caf,dsf,dts,eac3,flac,flv,gsm,iff,ircam,loas,m4a,matroska,"
    "mov,mp3,mp4,mpc,mpc8,mpeg,mpegts,nistsphere,nut,ogg,paf,pvf,qcp,rm,shn,sol,tak,truehd,tta,voc,w64,wav,webm,wv"
)
OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
_REFUSALS_IN_A_ROW = 1_000  # of the container, after which nothing more is expected of it
_INT_SCALES = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}


class UndecodableError(StreamerError):
    """It is no recording that FFmpeg reads; the message says why and starts in mid-sentence."""


class NoTrackError(UndecodableError):
    """It has fewer audio tracks."""


class Decoder:
    """Decodes one audio track of a file, or of an open stream.

    Attributes:
        rate_hz, channels: of the track, as its header states them; single frames may differ.
        refused: how many packets could not be decoded.
        cut: the last packet ended too early.
        decoded_s: seconds decoded so far.
        stated_s: seconds that the header states; None where it states none, or only an estimate.
    """

    def __init__(self, source: str | BinaryIO, track: int = 0, options: Mapping[str, str] | None = None) -> None:
        """Open `source`, a path or something to read, and choose its audio track `track`, counted from 0.

        `options` are FFmpeg's, beside `OPTIONS`.

        Raises:
            UndecodableError: it is no recording, or has no audio.
            NoTrackError: it has fewer audio tracks.
        """
        self._source = source
        self._container: InputContainer
        try:
            self._container = av.open(  # mode "r": an InputContainer
                f"file:{source}" if isinstance(source, str) else source,
                mode="r",
                options=OPTIONS | dict(options or {}),
                metadata_errors="replace",
            )
        except (FFmpegError, ValueError) as error:
            if not isinstance(source, str):
                source.close()
            raise UndecodableError("is not a recording that FFmpeg or libsndfile reads") from error
        tracks = self._container.streams.audio
        if not tracks:
            self.close()
            raise UndecodableError("has no audio track")
        if track >= len(tracks):
            self.close()
            raise NoTrackError(f"has no audio track {track}: it has {len(tracks)}, counted from 0; choose another")
        self._track: AudioStream = tracks[track]
        context: AudioCodecContext | None = self._track.codec_context  # None where there is no decoder
        if context is None:
            self.close()
            raise UndecodableError("has an audio track in a codec that FFmpeg does not decode")
        context.thread_count = 1  # frames of audio are too short to be shared out
        self.tracks = len(tracks)
        self.codec = context.name
        self.rate_hz = context.sample_rate
        self.channels = context.channels
        if not self.rate_hz or not self.channels:
            self.close()
            raise UndecodableError("has an audio track without a known rate")
        self.may_exceed = context.format is None or context.format.name.startswith(("flt", "dbl"))
        self.end_byte: int | None = None
        self.refused = 0
        self.cut = False
        self.decoded_s = 0.0
        self.stated_s = self._stated_s()
        self.lacks_info_frame = self.codec.startswith("mp3") and not self._track.start_time

    def blocks(self) -> Iterator[tuple[Samples2D, int]]:
        """Yield the decoded audio, [n, channels] float32 and its rate in Hz, frame by frame."""
        latest: Any = None  # a packet
        for packet in self._packets():
            if packet.size:
                latest = packet
            try:
                frames = packet.decode()
            except EndOfStream:
                continue
            except FFmpegError:
                self.refused += not is_tag_or_padding(bytes(packet))
                continue
            for frame in frames:
                if frame.samples and frame.sample_rate:
                    self.decoded_s += frame.samples / frame.sample_rate
                    yield to_float(frame), frame.sample_rate
        self.cut = latest is not None and _is_cut(self.codec, bytes(latest))

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._container.close()
        if not isinstance(self._source, str):
            self._source.close()

    def _packets(self) -> Iterator[Any]:
        """Yield packets to the end, going on where the container refuses to."""
        refusals = 0
        while refusals < _REFUSALS_IN_A_ROW:
            try:
                for packet in self._container.demux(self._track):
                    refusals = 0
                    yield packet
                return
            except FFmpegError:
                refusals += 1
                self.refused += 1

    def _stated_s(self) -> float | None:
        duration, base = self._track.duration, self._track.time_base
        if duration is None or base is None or self._container.format.name in ("mp3", "aac", "amr"):
            return None  # estimates from the bit rate
        return float(duration * base)


def to_float(frame: AudioFrame) -> Samples2D:
    """Return the samples of a frame, [n, channels] float32, full scale at ±1."""
    kind = frame.format.name.rstrip("p")
    values: npt.NDArray[Any] = frame.to_ndarray()  # planar: [channels, n]; packed: [1, n * channels]
    values = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    if kind == "u8":
        values = values.astype(np.float32) - np.float32(_INT_SCALES["u8"])
    samples = np.ascontiguousarray(values, dtype=np.float32)
    if kind in _INT_SCALES:
        samples = samples * np.float32(1 / _INT_SCALES[kind])  # a power of two: exact
    return samples


def _is_cut(codec: str, packet: bytes) -> bool:
    """Return whether a packet is shorter than its own header states."""
    if codec.startswith("mp3"):
        return len(packet) < mpeg_frame_bytes(packet[:4])
    return codec == "aac" and len(packet) < adts_frame_bytes(packet[:6])
