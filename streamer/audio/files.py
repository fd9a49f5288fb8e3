"""Decode recordings from disk to 24 kHz mono, for training and for `streamer embed`.

Two readers with different policies for defective files:

- `read_lenient` serves training and evaluation (`corpora.audio_store`, `evaluation.false_alarms`). It reads a whole
  file, replaces NaN by 0 and an infinity by the largest float32, after resampling, and reads a truncated file as far as
  it goes.
- `read_facts`, then `read_strict_blocks` or `read_strict`, serve `streamer embed` (`analysis.embed`). They refuse a
  file that is truncated, damaged or holds samples that are not finite, and read it in blocks where it is long.

A recording that is played as a live source is read by `audio.recording` instead.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from streamer.arrays import Samples
from streamer.constants import SAMPLE_RATE
from streamer.errors import StreamerError

BLOCK_S = 10  # read at once: 10 s at 48 kHz stereo are 3.8 MB
# The length of an MP3 without a table of contents is an estimate, and its last frames of 1,152 samples may be padding.
LENGTH_TOLERANCE = 2 * 1_152
_OGG_HEADER = 27  # bytes of a page before its table of segment lengths
_OGG_PAGE_MAX = _OGG_HEADER + 255 + 255 * 255  # bytes


def read_lenient(path: Path) -> Samples:
    """Read a whole file as 24 kHz mono, [T] float32, T >= 1; non-finite samples are replaced.

    Raises:
        StreamerError: it cannot be decoded, or holds no samples.
    """
    try:
        audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)  # [n, C]
    except (soundfile.LibsndfileError, OSError) as error:
        raise StreamerError(f"{path} cannot be read as audio; convert it to WAV or FLAC, or take it out.") from error
    if not len(audio):
        raise StreamerError(f"{path} holds no sound; take it out of the corpus.")
    mono: Samples = audio.mean(axis=1)  # [n, C] to [n]
    if rate_hz != SAMPLE_RATE:
        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE)
    mono = np.nan_to_num(mono).astype(np.float32)
    return mono


class UnreadableError(StreamerError):
    """A recording is refused; the message says what is wrong with it and starts in mid-sentence, after its name."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A recording's digest and header, known before its audio is decoded."""

    sha256: str  # of the file's bytes
    sample_rate: int  # Hz, the file's own
    channels: int
    seconds: float

    @property
    def samples(self) -> int:
        """Length in samples at 24 kHz."""
        return round(self.seconds * SAMPLE_RATE)

    @property
    def note(self) -> str:
        """What the conversion to 24 kHz mono changes and may matter; empty if nothing."""
        changes = []
        if self.channels > 1:
            changes.append(f"{self.channels} channels were mixed to one")
        if self.sample_rate < SAMPLE_RATE:
            changes.append(f"{self.sample_rate:,} Hz: nothing lies above {self.sample_rate // 2:,} Hz")
        return "; ".join(changes)


def read_facts(path: Path) -> Facts:
    """Hash a file and read its header.

    Raises:
        UnreadableError: it cannot be opened, is no audio, holds no samples, or fewer than its header announces.
    """
    try:
        if path.stat().st_size == 0:
            raise UnreadableError("is empty (0 bytes); copy it again")
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        info = soundfile.info(str(path), verbose=True)
    except OSError as error:
        raise UnreadableError(f"cannot be opened ({error.strerror or type(error).__name__})") from error
    except soundfile.LibsndfileError as error:
        raise UnreadableError("is not audio, or of a kind that libsndfile does not read; convert it to WAV") from error
    if _is_truncated(path, info):
        raise UnreadableError("is truncated (it ends before its header says so); copy it again")
    if info.frames <= 0:
        raise UnreadableError("holds no sound (0 samples); record it again or remove it")
    return Facts(digest, info.samplerate, info.channels, info.frames / info.samplerate)


def read_strict_blocks(path: Path, facts: Facts) -> Iterator[Samples]:
    """Yield a recording as 24 kHz mono, [n] float32 block by block; together they equal the whole resampled at once.

    Raises:
        UnreadableError: it is damaged, shorter than `facts` says, or holds samples that are not finite.
    """
    rate = facts.sample_rate
    resampler = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    frames_read = 0
    try:
        with soundfile.SoundFile(path) as file:
            while len(block := file.read(BLOCK_S * rate, dtype="float32", always_2d=True)):
                frames_read += len(block)
                mono = block.mean(axis=1)  # [n, C] to [n]
                if not np.isfinite(mono).all():
                    raise UnreadableError("holds samples that are not numbers; export it again")
                yield mono if resampler is None else resampler.resample_chunk(mono)
    except soundfile.LibsndfileError as error:
        after_s = frames_read / rate
        raise UnreadableError(f"is damaged or truncated after {after_s:.1f} s ({error}); copy it again") from error
    if frames_read + LENGTH_TOLERANCE < round(facts.seconds * rate):
        raise UnreadableError(
            f"is truncated ({frames_read / rate:.1f} s of {facts.seconds:.1f} s are there); copy it again"
        )
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def read_strict(path: Path, facts: Facts) -> Samples:
    """Read a recording as `read_strict_blocks` does, in one piece, [T] float32."""
    return np.concatenate(list(read_strict_blocks(path, facts)))


def _is_truncated(path: Path, info: "soundfile._SoundFileInfo") -> bool:
    """Return whether the file ends too early, for the formats whose headers libsndfile silently corrects."""
    if info.format == "OGG":
        return _ogg_is_truncated(path)
    # WAV, W64, AIFF: libsndfile's log has the size of the header and the real one. A streamed WAV of unknown length
    # has 0 or the largest number in its header, which is no truncation.
    sizes = [line for line in info.extra_info.splitlines() if "data" in line.lower() or "SSND" in line]
    unknown = ("4294967295", "2147483647", ": 0 ")
    return any("should be" in line and not any(mark in line for mark in unknown) for line in sizes)


def _ogg_is_truncated(path: Path) -> bool:
    """Return whether the last page of an Ogg file (RFC 3533) is incomplete."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 2 * _OGG_PAGE_MAX))
        tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < _OGG_HEADER:
        return True
    lengths = page[_OGG_HEADER : _OGG_HEADER + page[26]]  # byte 26: how many segments
    return len(lengths) < page[26] or len(page) < _OGG_HEADER + len(lengths) + sum(lengths)
