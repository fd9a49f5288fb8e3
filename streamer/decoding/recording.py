"""Read an audio file block by block, whatever container and codec it has; it is never loaded whole.

This is the one reader of recordings: `run` plays it, `embed`, `train` and `evaluate` read it through `audio.files`. Its
policy for defects: what a decoder refuses is skipped, samples that cannot be are repaired (`audio.sanitize`), all that
is there is used, and `notice` and `damage` report the rest. A file that holds several recordings is read to its end;
the later ones are resampled to the first one's rate.
"""

import contextlib
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
import soundfile

from streamer.audio.sanitize import Sanitizer
from streamer.decoding.containers import Part, find_next, find_parts
from streamer.decoding.part_decoders import BLOCK_S, Converter, PartDecoder, Samples2D, Slice, SoundFileDecoder
from streamer.errors import StreamerError, UsageError

if TYPE_CHECKING:
    from streamer.decoding.decoder import Decoder

MISSING_TOLERANCE_S = 0.5  # encoders state lengths that include their delay, or leave out an edit
_LIBSNDFILE_ALONE = {".htk", ".mat", ".sds", ".xi", ".wve", ".mpc"}  # not MP3: its decoder prints on the terminal
_READ_AHEAD = 65_536  # bytes: more than libFLAC reads ahead
_JUNK_BYTES = 4_096  # at the end of a file, that are no recording: fewer are not reported


class Recording:
    """Implements `playback.BlockReader` for a file; with `loop` it repeats for ever.

    Attributes:
        damage: what could not be read, in mid-sentence after the file's name; empty when all was. Known at the end.
        notice: what was repaired, one sentence; empty when nothing was.
    """

    def __init__(self, path: str | Path, loop: bool = False, track: int = 0) -> None:
        self._path = Path(path).expanduser()
        self._loop = loop
        self._track = track
        self._parts: list[Part] = []
        self._left_bytes = 0  # at the end of the file, of no recording
        self._decoder: PartDecoder | None = None
        self._blocks: Iterator[Samples2D] = iter(())
        self._block = np.zeros((0, 1), dtype=np.float32)
        self._sanitizer = Sanitizer()
        self._played = 0  # frames, since the file's beginning
        self.device = self._path.name
        self.rate_hz = 0.0
        self.channels = 0
        self.tracks = 1
        self.codec = ""
        self.lacks_info_frame = False  # see `audio.decoder`
        self.stated_s: float | None = None  # of all parts, by their headers
        self.damage = ""

    @property
    def arrived_s(self) -> float:
        """A file is always there."""
        return math.inf

    @property
    def problem(self) -> str:
        """One sentence about what could not be read; empty when all was."""
        return f"{self.device!r} {self.damage}." if self.damage else ""

    @property
    def notice(self) -> str:
        """One sentence about what was repaired."""
        return self._sanitizer.notice

    def open(self) -> None:
        """Open the file and read its header.

        Raises:
            UsageError: there is no such file or track, or it may not be read.
            StreamerError: it is no recording.
        """
        try:
            self._parts, self._left_bytes = find_parts(self._path)
        except OSError as error:
            raise UsageError(f"{str(self._path)!r} cannot be read: {error.strerror}; name an audio file.") from error
        if not self._parts:
            raise StreamerError(f"{str(self._path)!r} is empty; name an audio file.")
        self._decoder = first = self._open_part(self._parts[0])
        self.rate_hz, self.channels = float(first.rate_hz), first.channels
        self.stated_s = first.stated_s if len(self._parts) == 1 else None
        self._blocks = self._decoded()

    def read(self, frames: int) -> Samples2D | None:
        """Return the next `frames` frames, fewer before the end, as [n, channels] float32; None at the end."""
        if not len(self._block):
            block = next(self._blocks, None)
            if block is None and self._loop and self._played and not self.damage:
                self._played = 0
                self._blocks = self._decoded()
                block = next(self._blocks, None)
            if block is None:
                return None
            self._block = block
        block, self._block = self._block[:frames], self._block[frames:]
        self._played += len(block)
        return block

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def _open_part(self, part: Part) -> PartDecoder:
        """Return a decoder of one part of the file.

        Raises:
            StreamerError: nothing reads it.
        """
        if part.exact and not self._track:
            with contextlib.suppress(soundfile.LibsndfileError):  # a header that it does not like
                return SoundFileDecoder(self._path)
        from streamer.decoding.decoder import Decoder, NoTrackError, UndecodableError

        whole = part.start == 0 and part.end == os.path.getsize(self._path)
        try:
            decoder = Decoder(
                str(self._path) if whole else cast(BinaryIO, io.BufferedReader(Slice(self._path, part))), self._track
            )
        except NoTrackError as error:
            raise UsageError(f"{str(self._path)!r} {error}.") from error
        except UndecodableError as error:
            if part.start == 0 and self._path.suffix.lower() in _LIBSNDFILE_ALONE:
                with contextlib.suppress(soundfile.LibsndfileError):
                    return SoundFileDecoder(self._path)
            if part.cut:
                what = "is cut short, and what says how to decode it is missing; get a whole copy of it."
            else:
                what = f"{error}; pipe raw PCM in with `-`."
            raise StreamerError(f"{str(self._path)!r} {what}") from error
        self._describe(decoder)
        return decoder

    def _describe(self, decoder: "Decoder") -> None:
        self.tracks, self.codec = decoder.tracks, decoder.codec
        self.lacks_info_frame = decoder.lacks_info_frame

    def _decoded(self) -> Iterator[Samples2D]:
        """Yield the whole file in blocks of half a second, repaired, at the first part's rate; then set `damage`."""
        decoded_s, refused, cut = 0.0, 0, False
        unread = self._left_bytes if self._left_bytes > _JUNK_BYTES else 0
        parts = list(self._parts)
        for number, part in enumerate(parts):  # which grows
            if number or self._decoder is None:
                try:
                    self.close()
                    self._decoder = self._open_part(part)
                except StreamerError:
                    unread += part.size
                    continue
            decoder = self._decoder
            for block in _gathered(decoder.blocks(), round(self.rate_hz), self.channels):
                yield self._sanitizer.repair(block) if decoder.may_exceed else block
            decoded_s += decoder.decoded_s
            refused += decoder.refused
            missing_s = (decoder.stated_s or 0.0) - decoder.decoded_s
            cut = cut or part.cut or decoder.cut or missing_s > MISSING_TOLERANCE_S
            if decoder.end_byte is not None and decoder.end_byte < part.end:
                further, left = self._behind(decoder.end_byte)
                parts += further
                unread += left if left > _JUNK_BYTES else 0
        self.close()
        self.damage = damage_of(decoded_s, refused, cut, unread)

    def _behind(self, end_byte: int) -> tuple[list[Part], int]:
        """Return the parts behind one that ended before byte `end_byte`, and how many bytes belong to none."""
        size = os.path.getsize(self._path)
        start = find_next(self._path, max(1, end_byte - _READ_AHEAD))
        return find_parts(self._path, start) if start < size else ([], size - end_byte)


def damage_of(decoded_s: float, refused: int, cut: bool, unread: int) -> str:
    """Return what could not be read, in mid-sentence; empty when all was."""
    if not decoded_s and not (cut or refused):
        return "holds no audio; name another file"
    cure = "and all that could be decoded was used; get a whole copy of it"
    if unread:
        return f"goes on after {decoded_s:.1f} s with {unread:,} bytes that cannot be decoded, {cure}"
    if cut:
        return f"is damaged or cut short after {decoded_s:.1f} s, {cure}"
    if refused:
        parts = "a part" if refused == 1 else f"{refused:,} parts"
        return f"is damaged: {parts} of it cannot be decoded, {cure}"
    return ""


def _gathered(blocks: Iterator[tuple[Samples2D, int]], rate_hz: int, channels: int) -> Iterator[Samples2D]:
    """Yield `blocks` joined to half a second each, as [n, channels] at `rate_hz`."""
    converter = Converter(rate_hz, channels)
    some: list[Samples2D] = []
    frames = 0
    for block, block_rate_hz in blocks:
        some.append(converter.convert(block, block_rate_hz))
        frames += len(some[-1])
        if frames >= BLOCK_S * rate_hz:
            yield some[0] if len(some) == 1 else np.concatenate(some)
            some, frames = [], 0
    some.append(converter.flush())
    if frames + len(some[-1]):
        yield np.concatenate(some)
