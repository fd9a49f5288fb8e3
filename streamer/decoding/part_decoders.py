"""Decode parts of a file with libsndfile, read a part as a file of its own, and bring all parts to one rate."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from streamer.decoding.containers import Part

Samples2D = npt.NDArray[np.float32]  # [n, channels]

BLOCK_S = 0.5  # decoded at once: a shorter read costs more CPU, per sample


class PartDecoder(Protocol):
    """Decodes one part of a file."""

    rate_hz: int
    channels: int
    refused: int  # packets that could not be decoded
    cut: bool  # the last packet ended too early
    decoded_s: float
    stated_s: float | None  # by the header
    end_byte: int | None  # where reading ended, where that may be before the end of the part
    may_exceed: bool  # it holds floats: samples may be beyond full scale, or not finite

    def blocks(self) -> Iterator[tuple[Samples2D, int]]:
        """Yield [n, channels] float32 and its rate in Hz."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class Converter:
    """Brings blocks of changing rates and channel counts to one of each: decoders may change both in mid-file."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._rate_hz = rate_hz
        self._channels = channels
        self._from_hz = rate_hz
        self._resampler: soxr.ResampleStream | None = None

    def convert(self, block: Samples2D, rate_hz: int) -> Samples2D:
        """Return `block`, [n, C] at `rate_hz`, as [m, channels] at the one rate."""
        if block.shape[1] != self._channels:  # the mean of all, in each
            block = np.repeat(block.mean(axis=1, keepdims=True), self._channels, axis=1)
        if rate_hz == self._from_hz:
            return block if self._resampler is None else self._resampler.resample_chunk(block)
        rest = self.flush()
        self._from_hz = rate_hz
        if rate_hz == self._rate_hz:
            return np.concatenate([rest, block])
        self._resampler = soxr.ResampleStream(rate_hz, self._rate_hz, self._channels, dtype="float32")
        return np.concatenate([rest, self._resampler.resample_chunk(block)])

    def flush(self) -> Samples2D:
        """Return what the resampler still holds."""
        empty = np.zeros((0, self._channels), dtype=np.float32)
        resampler, self._resampler = self._resampler, None
        return empty if resampler is None else resampler.resample_chunk(empty, last=True)


class SoundFileDecoder:
    """Implements `PartDecoder` with libsndfile, where it is exact and FFmpeg costs more or is not.

    That is a PCM WAV whose header is true, at a third of the cost, a FLAC that states its length, at two thirds, and
    Apple Lossless in CAF, whose end FFmpeg cuts off.
    libsndfile ends a FLAC at the first damage; the rest of it is then decoded by FFmpeg.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.end_byte: int | None = None
        try:
            self._file = soundfile.SoundFile(self._descriptor, closefd=False)
        except BaseException:
            os.close(self._descriptor)
            raise
        self.rate_hz = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self.refused = 0
        self.cut = False
        self.decoded_s = 0.0
        self.stated_s: float | None = self._file.frames / self.rate_hz
        self.may_exceed = self._file.subtype in ("FLOAT", "DOUBLE")

    def blocks(self) -> Iterator[tuple[Samples2D, int]]:
        """Yield half a second at a time."""
        frames, frames_read = round(BLOCK_S * self.rate_hz), 0
        try:
            while len(block := self._file.read(frames, dtype="float32", always_2d=True)):
                frames_read += len(block)
                self.decoded_s = frames_read / self.rate_hz
                yield block, self.rate_hz
        except soundfile.LibsndfileError:
            self.cut = True
        if self._file.format != "FLAC":
            return
        if frames_read < self._file.frames:
            yield from self._rest(frames_read)
        else:
            self.end_byte = os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if not self._file.closed:
            self._file.close()
            os.close(self._descriptor)

    def _rest(self, frames_read: int) -> Iterator[tuple[Samples2D, int]]:
        """Yield what FFmpeg decodes behind the first `frames_read` frames."""
        from streamer.decoding.decoder import Decoder

        decoder = Decoder(str(self._path))
        position = 0
        for block, rate_hz in decoder.blocks():
            position += len(block)
            if position > frames_read:
                yield block[-(position - frames_read) :], rate_hz
        decoder.close()
        self.decoded_s = max(self.decoded_s, decoder.decoded_s)
        self.refused, self.cut = max(1, decoder.refused), decoder.cut


class Slice(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, path: Path, part: Part) -> None:
        self._file = path.open("rb", buffering=0)
        self._part = part
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer`, at most to the end of the part."""
        self._file.seek(self._part.start + self._position)
        data = self._file.read(max(0, min(len(buffer), self._part.size - self._position)))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset` from the part's beginning, the position, or the part's end."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._part.size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        """Return the position in the part."""
        return self._position

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
