"""Read what another program writes into a pipe: raw PCM, or a recording that is recognised by its first bytes."""

import logging
import queue
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from streamer.audio.resample import Block
from streamer.audio.sanitize import Sanitizer
from streamer.decoding.byte_stream import WAIT_S, ByteStream, SpoolingReader, WaitingReader
from streamer.decoding.containers import needs_seeking, sniff, sniff_stream
from streamer.decoding.frame_headers import mpeg_frame_bytes
from streamer.errors import UsageError
from streamer.sources.source import Encoding, PcmFormat

if TYPE_CHECKING:
    from streamer.decoding.decoder import Decoder

_DTYPES: dict[Encoding, Any] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
_HEAD_BYTES = 16
_LONG_HEAD_BYTES = 4_096  # where the first ones leave it open: two frames of MPEG audio are shorter
# FFmpeg analyses up to 5 s before the first packet (PyAV 18.1, FFmpeg 8.1): too long for what is live.
_PROBING = {"analyzeduration": "500000"}  # microseconds
_SHORT_PROBING = {"analyzeduration": "1", "probesize": "4096"}  # PCM: the header says all; a WAV takes 64 KB still
_QUEUED_BLOCKS = 64  # decoded ahead, a frame of the codec each


logger = logging.getLogger(__name__)


class Pipe:
    """Implements `playback.BlockReader` for a pipe. What is recognised as a recording is decoded; else it is raw PCM.

    A read that ends in the middle of a frame keeps the odd bytes for the next one.
    """

    def __init__(self, stream: BinaryIO | Path, pcm: PcmFormat, device: str = "standard input", track: int = 0) -> None:
        self._stream = ByteStream(stream)
        self._track = track
        self._dtype = _DTYPES[pcm.encoding]
        self._frame_bytes = self._dtype.itemsize * pcm.channels
        self._head: bytes | None = b""  # None: it is known what follows
        self._carried = b""
        self._started = False
        self._decoding: _Decoding | None = None
        self._sanitizer = Sanitizer()
        self.device = device
        self._pcm = pcm
        self.rate_hz = float(pcm.rate_hz)
        self.channels = 0  # until it is known what comes
        self.problem = ""

    @property
    def arrived_s(self) -> float:
        """Monotonic moment at which data came last: a decoder may need more of it before there is audio."""
        return self._stream.arrived_s

    @property
    def notice(self) -> str:
        """What was repaired, one sentence; empty where nothing was."""
        notice = self._sanitizer.notice
        return notice if self._decoding or not notice else notice.removesuffix(".") + "; check --format."

    def open(self) -> None:
        """Take over the stream; nothing is read yet.

        Raises:
            UsageError: it is a terminal, or cannot be opened.
        """
        if self._stream.isatty():
            raise UsageError(
                "Standard input is a terminal; pipe raw PCM or a recording into it, for example "
                "`arecord -t raw -f S16_LE -r 16000 -c 1 | streamer run -`."
            )
        try:
            self._stream.open()
        except OSError as error:
            raise UsageError(
                f"{self.device!r} cannot be read: {error.strerror}; name an audio file or a pipe."
            ) from error

    def read(self, frames: int) -> Block | None:
        """Return up to `frames` frames, [n, channels] int16 or float32; n = 0 after 0.1 s without any; None at end."""
        if self._head is not None and not self._recognise():
            return np.zeros((0, 1), dtype=np.float32)
        if self._decoding is not None:
            return self._decoded(self._decoding, frames)
        data = self._stream.read(frames * self._frame_bytes - len(self._carried))
        if data is None:
            return self._decode(b"")
        if data:
            return self._decode(data)
        self.problem = self._problem_at_end()
        return None

    def close(self) -> None:
        """Release it; standard input belongs to the caller."""
        if self._decoding is not None:
            self._decoding.stop()
        self._stream.close()

    def _recognise(self) -> bool:
        """Read until it is known whether this is a recording or raw PCM; return False where more is needed."""
        head = self._head or b""
        wanted = _HEAD_BYTES
        ended = False
        if len(head) >= wanted and (mpeg_frame_bytes(head) or sniff(head) in ("aac", "mp4")):
            wanted = _LONG_HEAD_BYTES
        if len(head) < wanted:
            data = self._stream.read(wanted - len(head))
            ended = data == b""
            self._head = head = head + (data or b"")
        undecided = mpeg_frame_bytes(head) or sniff(head) in ("aac", "mp4")
        if not ended and (len(head) < _HEAD_BYTES or (undecided and len(head) < _LONG_HEAD_BYTES)):
            return False
        self._head = None
        self._stream.unread(head)
        self.channels = self._pcm.channels
        if kind := sniff_stream(head):
            self._decoding = _Decoding(self._stream, self._track, kind, spool=needs_seeking(head))
        return True

    def _decoded(self, decoding: "_Decoding", frames: int) -> Block | None:
        block = decoding.read(frames)
        if decoding.rate_hz:
            self.rate_hz, self.channels = decoding.rate_hz, decoding.channels
        if block is None:
            self.problem = f"{self.device.capitalize()} {decoding.damage}." if decoding.damage else ""
            return None
        return self._sanitizer.repair(block)

    def _problem_at_end(self) -> str:
        if not self._started:
            return f"{self.device.capitalize()} ended before it delivered any audio; check the program that writes it."
        if self._carried:
            return (
                f"{self.device.capitalize()} ended with {len(self._carried)} bytes of an unfinished frame; "
                f"check --format and --channels."
            )
        return ""

    def _decode(self, data: bytes) -> Block:
        self._started = self._started or bool(data)
        data = self._carried + data
        whole = len(data) // self._frame_bytes * self._frame_bytes
        self._carried = data[whole:]
        block = np.frombuffer(data[:whole], dtype=self._dtype).reshape(-1, self.channels)
        return self._sanitizer.repair(block) if block.dtype == np.float32 else block


class _Decoding:
    """Decodes a stream in a thread of its own, since FFmpeg waits for data as long as it takes."""

    def __init__(self, stream: ByteStream, track: int, kind: str, spool: bool) -> None:
        self.rate_hz = 0.0  # known with the first block
        self.channels = 1
        self.damage = ""  # what could not be read, in mid-sentence; known at the end
        self._stop = threading.Event()
        reader = WaitingReader(stream, self._stop)
        self._reader = SpoolingReader(reader) if spool else reader
        self._track = track
        self._probing = _SHORT_PROBING if kind in ("wav", "aiff", "au") else _PROBING
        self._blocks: queue.Queue[npt.NDArray[np.float32] | None] = queue.Queue(_QUEUED_BLOCKS)
        self._block = np.zeros((0, 1), dtype=np.float32)
        self._thread = threading.Thread(target=self._run, name="pipe decoder", daemon=True)
        self._thread.start()

    def read(self, frames: int) -> npt.NDArray[np.float32] | None:
        """Return up to `frames` frames, [n, channels]; n = 0 after 0.1 s without any; None at the end."""
        if not len(self._block):
            try:
                block = self._blocks.get(timeout=WAIT_S)
            except queue.Empty:
                return np.zeros((0, self.channels), dtype=np.float32)
            if block is None:
                return None
            self._block = block
        block, self._block = self._block[:frames], self._block[frames:]
        return block

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        from streamer.decoding.decoder import Decoder, UndecodableError
        from streamer.decoding.recording import damage_of

        try:
            decoder = Decoder(cast(BinaryIO, self._reader), self._track, self._probing)
            try:
                self._decode(decoder)
                self.damage = damage_of(decoder.decoded_s, decoder.refused, decoder.cut, 0)
            finally:
                decoder.close()
        except UndecodableError as error:
            self.damage = f"{error}; give it as a file, or pipe raw PCM in"
        except Exception as error:  # a defect must show on the screen, not end the thread silently
            logger.exception("decoding a pipe failed")
            self.damage = f"stopped on an internal error: {error!r}; start it again"
        finally:
            self._put(None)

    def _decode(self, decoder: "Decoder") -> None:
        from streamer.decoding.part_decoders import Converter

        self.rate_hz, self.channels = float(decoder.rate_hz), decoder.channels
        converter = Converter(decoder.rate_hz, decoder.channels)
        for block, rate_hz in decoder.blocks():
            self._put(converter.convert(block, rate_hz))
            if self._stop.is_set():
                return
        self._put(converter.flush())

    def _put(self, block: npt.NDArray[np.float32] | None) -> None:
        while not self._stop.is_set():
            try:
                return self._blocks.put(block, timeout=WAIT_S)
            except queue.Full:
                continue
