"""Recognise recordings by their first bytes, and find where each begins and ends in a file.

A file may hold several: `cat a.wav b.wav` and radio archives make such files, and decoders read the first one only, or
misread the others. `find_parts` splits a file there, so that each part is decoded by itself. It reads headers and
skips what is between them; only containers that do not state their length are searched.
"""

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from streamer.decoding.frame_headers import adts_frame_bytes, id3_tag_bytes, is_id3_tag, mpeg_frame_bytes

HEAD_BYTES = 16  # enough to recognise every kind below
_SIZE_UNKNOWN = 0x7FFF_F000  # a WAV that is written to a pipe has this size or more (sox), or 0xFFFFFFFF (ffmpeg)
_OGG_HEADER_BYTES = 27  # of a page, before its table of segment lengths
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_EBML_HEADER = bytes.fromhex("1a45dfa3")

# Where another recording begins behind one that does not state its length. Each is long enough not to occur by chance.
_BEGINNINGS = (b"RIFF", b"fLaC\0\0\0\x22", b"OggS\0\2", b"ftyp", b"#!AMR", b"caff\0\1", _ASF_HEADER, b"ID3")
_TAG_BYTES = 4_096  # an ID3 tag up to this long, between two MP3s, is skipped by the decoder like a frame


@dataclass(frozen=True, slots=True)
class Part:
    """One recording in a file."""

    kind: str  # see `sniff`; empty: unknown, the decoder finds out
    start: int  # bytes
    end: int
    cut: bool = False  # its header announces more than is there
    exact: bool = False  # for libsndfile: a PCM WAV with a true header, a FLAC that states its length, or ALAC in CAF

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


def sniff(head: bytes) -> str:
    """Return the kind of recording that begins with `head`; empty where it is none that states its kind."""
    for kind, begins in (
        ("wav", head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:12] == b"WAVE"),
        ("wav", head[:4] == b"riff" and head[4:8] == b"\x2e\x91\xcf\x11"),  # Sony Wave64
        ("avi", head[:4] == b"RIFF" and head[8:12] == b"AVI "),
        ("aiff", head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")),
        ("flac", head[:4] == b"fLaC"),
        ("ogg", head[:4] == b"OggS"),
        ("mp4", head[4:8] in (b"ftyp", b"moov") or (head[4:8] in (b"wide", b"free", b"skip") and head[:2] == b"\0\0")),
        ("matroska", head[:4] == _EBML_HEADER),
        ("asf", head[:16] == _ASF_HEADER),
        ("caf", head[:6] == b"caff\0\1"),
        ("amr", head[:5] == b"#!AMR"),
        ("au", head[:4] == b".snd"),
        ("mp3", is_id3_tag(head)),
        ("aac", head[:1] == b"\xff" and head[1:2] in (b"\xf0", b"\xf1", b"\xf8", b"\xf9")),
        ("mp3", mpeg_frame_bytes(head) > 0),
    ):
        if begins:
            return kind
    return ""


def sniff_stream(head: bytes) -> str:
    """Return the kind of recording that a stream begins with; empty where it may be raw PCM.

    A frame of MPEG audio or AAC begins with 12 bits only, as PCM may by chance: a second frame must follow the first.
    """
    kind = sniff(head)
    if kind == "mp3" and not is_id3_tag(head):
        length = mpeg_frame_bytes(head)
        return kind if mpeg_frame_bytes(head[length : length + 4]) else ""
    if kind == "aac":
        length = adts_frame_bytes(head)
        return kind if length and adts_frame_bytes(head[length : length + 6]) else ""
    return kind


def needs_seeking(head: bytes) -> bool:
    """Return whether FFmpeg must seek in what begins with `head`: a CAF, or an MP4 with its index at the end."""
    if sniff(head) == "caf":
        return True
    position = 0
    while sniff(head) == "mp4" and position + 8 <= len(head):
        length, name = struct.unpack(">I4s", head[position : position + 8])
        if name == b"mdat":
            return True
        if name in (b"moov", b"moof") or length < 8:
            return False
        position += length
    return False


def find_parts(path: Path, start: int = 0) -> tuple[list[Part], int]:
    """Return the recordings in a file from byte `start` on, in order, and how many bytes at its end belong to none.

    A FLAC at the beginning that states its length is not searched, which costs a quarter of decoding it: it reaches to
    the end of the file here, and `find_next` finds what is behind it.

    Raises:
        OSError: it cannot be read.
    """
    parts: list[Part] = []
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while start < size:
            file.seek(start)
            kind = sniff(file.read(HEAD_BYTES))
            if start and not kind:
                return parts, _junk(file, start, size)
            part = _part(file, kind, start, size)
            parts.append(part)
            start = part.end
    return parts, 0


def find_next(path: Path, position: int) -> int:
    """Return where a recording begins at or behind byte `position` of a FLAC, or the end of the file."""
    with path.open("rb") as file:
        return _next_beginning(file, "flac", position - 1, os.fstat(file.fileno()).st_size)


def _part(file: BinaryIO, kind: str, start: int, size: int) -> Part:
    file.seek(start)
    head = file.read(4)
    if kind == "wav" and head == b"RIFF":
        return _wav(file, start, size)
    if kind == "aiff":
        length = struct.unpack(">I", file.read(4))[0]
        return Part(kind, start, min(size, start + 8 + length + length % 2), cut=start + 8 + length > size)
    if kind == "caf":
        return Part(kind, start, size, exact=start == 0 and _is_lossless(file))
    if kind == "mp4":
        return _boxes(file, start, size)
    if kind == "matroska":
        return _elements(file, start, size)
    if kind == "ogg":
        return _pages(file, start, size)
    if kind in ("flac", "mp3", "aac", "amr"):
        if kind == "flac" and start == 0 and _states_length(file):
            return Part(kind, start, size, exact=True)
        end = _next_beginning(file, kind, start, size)
        return Part(kind, start, end, cut=kind == "mp3" and end - start < _mp3_bytes(file, start))
    return Part(kind, start, size)


def _wav(file: BinaryIO, start: int, size: int) -> Part:
    """Walk the chunks of a WAV. Where its lengths cannot be true, it reaches to the end of the file."""
    position, pcm, data_end = start + 12, False, 0
    while position + 8 <= size:
        file.seek(position)
        head = file.read(48)
        name, length = struct.unpack("<4sI", head[:8])
        behind = position + 8 + length
        if data_end and (sniff(head) or not _is_chunk_name(name) or behind > size):
            break  # what follows is no chunk of this file
        if name == b"fmt ":
            pcm = _is_pcm(head[8:])
        elif name == b"data":
            if length == 0 or (length >= _SIZE_UNKNOWN and behind > size):
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    return Part("wav", start, _find(data, b"RIFF", "wav", position + 8))
            if behind > size:
                return Part("wav", start, size, cut=True)
            data_end = behind
        elif behind > size:
            return Part("wav", start, size)
        position = behind + length % 2
    end = min(size, position) if data_end else size
    return Part("wav", start, end, exact=bool(data_end) and pcm and start == 0 and end == size)


def _is_chunk_name(name: bytes) -> bool:
    return name.isascii() and name.decode("ascii").isprintable()


def _is_pcm(head: bytes) -> bool:
    """Return whether a WAV's format is integers or floats of whole bytes: libsndfile and FFmpeg then read the same."""
    tag, _, _, _, _, bits = struct.unpack("<HHIIHH", head[:16].ljust(16, b"\0"))
    extended = head[24:26] if tag == 0xFFFE else b""
    return (tag in (1, 3) or extended in (b"\1\0", b"\3\0")) and bits % 8 == 0


def _is_lossless(file: BinaryIO) -> bool:
    """Return whether a CAF holds Apple Lossless.

    FFmpeg 8.1 takes up to 2048 samples off the end of what libsndfile 1.2 writes (`findings/pyav-alac-caf.sh`).
    """
    file.seek(0)
    head = file.read(32)  # b"caff", version, flags; the first chunk is the description: rate, then format
    return head[8:12] == b"desc" and head[28:32] == b"alac"


def _boxes(file: BinaryIO, start: int, size: int) -> Part:
    """Walk the boxes of an MP4 to the next file's `ftyp`, or to what is no box (ISO 14496-12)."""
    position = start
    while position + 8 <= size:
        file.seek(position)
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = struct.unpack(">Q", file.read(8).rjust(8, b"\0"))[0]
        elif length == 0:
            return Part("mp4", start, size)
        if (position > start and name == b"ftyp") or length < 8 or not name.isalnum():
            return Part("mp4", start, position if position > start else size)
        if position + length > size:
            return Part("mp4", start, size, cut=True)
        position += length
    return Part("mp4", start, size)


def _elements(file: BinaryIO, start: int, size: int) -> Part:
    """Walk the header and the segment of a Matroska file (RFC 8794)."""
    position = start
    for _ in range(2):
        file.seek(position)
        head = file.read(12)
        if len(head) < 12:
            return Part("matroska", start, size, cut=True)
        width = 9 - head[4].bit_length()  # of the size, whose first 1 bit says so
        value = int.from_bytes(head[4 : 4 + width], "big") & (1 << 7 * width) - 1
        if width > 8 or value == (1 << 7 * width) - 1:
            return Part("matroska", start, size)  # unknown: written to a pipe
        position += 4 + width + value
    return Part("matroska", start, min(position, size), cut=position > size)


def _pages(file: BinaryIO, start: int, size: int) -> Part:
    """Walk the pages of an Ogg file to the next link of its chain, or to what is no page (RFC 3533)."""
    position, data_began = start, False
    while position + _OGG_HEADER_BYTES <= size:
        file.seek(position)
        head = file.read(_OGG_HEADER_BYTES + 255)
        if head[:4] != b"OggS":
            return Part("ogg", start, position if sniff(head[:HEAD_BYTES]) else size)
        begins = bool(head[5] & 2)
        if begins and data_began:
            return Part("ogg", start, position)
        data_began = data_began or not begins
        lengths = head[_OGG_HEADER_BYTES : _OGG_HEADER_BYTES + head[26]]
        position += _OGG_HEADER_BYTES + len(lengths) + sum(lengths)
    return Part("ogg", start, size, cut=position != size)


def _next_beginning(file: BinaryIO, kind: str, start: int, size: int) -> int:
    """Return where the next recording begins, or the end of the file."""
    first = start + 1
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if is_id3_tag(data[start : start + 10]):
            first = start + id3_tag_bytes(data[start : start + 10])
        return min((_find(data, mark, kind, first) for mark in _BEGINNINGS), default=size)


def _mp3_bytes(file: BinaryIO, start: int) -> int:
    """Return how many bytes an MP3 must have by its info frame (Xing); 0 where it has none."""
    file.seek(start)
    head = file.read(10)
    tag_bytes = id3_tag_bytes(head) if is_id3_tag(head) else 0
    file.seek(start + tag_bytes)
    frame = file.read(256)
    info = max(frame.find(b"Xing"), frame.find(b"Info"))
    if not mpeg_frame_bytes(frame[:4]) or info < 0 or not frame[info + 7] & 2:
        return 0
    offset = info + 8 + 4 * (frame[info + 7] & 1)  # behind the number of frames
    return tag_bytes + int.from_bytes(frame[offset : offset + 4], "big")


def _states_length(file: BinaryIO) -> bool:
    """Return whether the FLAC's STREAMINFO, its first block, has a number of samples (RFC 9639)."""
    file.seek(0)
    head = file.read(26)
    return len(head) == 26 and bool(head[21] & 0x0F or any(head[22:26]))


def _find(data: mmap.mmap, mark: bytes, kind: str, position: int) -> int:
    offset = 4 if mark == b"ftyp" else 0  # behind the length of its box
    while (found := data.find(mark, position)) >= 0:
        begins = found - offset
        head = data[begins : begins + HEAD_BYTES]
        found_kind = sniff(head)
        if mark == b"ID3":
            # Between MP3s the decoder skips a short tag; a long one has a picture, in which it may find noise.
            long_tag = is_id3_tag(head) and id3_tag_bytes(head) > _TAG_BYTES
            found_kind = found_kind if kind != "mp3" or long_tag else ""
        elif mark == b"ftyp" and not head[8:12].isalnum():
            found_kind = ""
        if found_kind:
            return begins
        position = found + 1
    return len(data)


def _junk(file: BinaryIO, start: int, size: int) -> int:
    """Return the bytes from `start` on that are no padding and no tag."""
    file.seek(start)
    rest = file.read(min(size - start, 1 << 20))
    is_tag = rest[:3] == b"TAG" or rest[:8] in (b"APETAGEX", b"LYRICSBE")
    return 0 if is_tag or not rest.strip(b"\0\r\n ") else size - start
