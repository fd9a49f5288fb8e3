"""Recordings from disk: whatever libsndfile reads, as mono at 24 kHz, whole or in blocks."""

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


def read_recording(path: Path) -> Samples:
    """A whole file as mono float32 `[T]` at 24 kHz, T >= 1.

    Raises:
        StreamerError: it cannot be read, or holds no samples.
    """
    try:
        audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise StreamerError(f"{path} cannot be read as audio; convert it to WAV or FLAC, or take it out.") from error
    if not len(audio):
        raise StreamerError(f"{path} holds no sound; take it out of the corpus.")
    mono: Samples = audio.mean(axis=1)
    if rate_hz != SAMPLE_RATE:
        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE)
    mono = np.nan_to_num(mono).astype(np.float32)
    return mono


BLOCK_S = 10  # read at once: 10 s at 48 kHz stereo are 3.8 MB
# An MP3 without a table of contents is only estimated, and its last frames of 1,152 samples may be padding.
LENGTH_TOLERANCE = 2 * 1_152
_OGG_HEADER = 27  # bytes of a page before its table of segment lengths
_OGG_PAGE_MAX = _OGG_HEADER + 255 + 255 * 255  # bytes


class UnreadableError(StreamerError):
    """A recording cannot be read; the message says what is wrong with it, beginning in mid-sentence."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a recording before its sound is read."""

    sha256: str  # of the file's bytes
    sample_rate: int  # Hz, the file's own
    channels: int
    seconds: float

    @property
    def samples(self) -> int:
        """At 24 kHz."""
        return round(self.seconds * SAMPLE_RATE)

    @property
    def note(self) -> str:
        """What was changed on the way to 24 kHz mono and may matter; empty if nothing."""
        changes = []
        if self.channels > 1:
            changes.append(f"{self.channels} channels were mixed to one")
        if self.sample_rate < SAMPLE_RATE:
            changes.append(f"{self.sample_rate:,} Hz: nothing lies above {self.sample_rate // 2:,} Hz")
        return "; ".join(changes)


def read_facts(path: Path) -> Facts:
    """Raises UnreadableError where there is no sound in the file, or less than its header promises."""
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
    if _is_cut(path, info):
        raise UnreadableError("is truncated (it ends before its header says so); copy it again")
    if info.frames <= 0:
        raise UnreadableError("holds no sound (0 samples); record it again or remove it")
    return Facts(digest, info.samplerate, info.channels, info.frames / info.samplerate)


def read_blocks(path: Path, facts: Facts) -> Iterator[Samples]:
    """The recording as mono at 24 kHz, `[n] float32` block by block: together what resampling the whole gives.

    Raises:
        UnreadableError: on the way it turns out to be damaged or truncated.
    """
    rate = facts.sample_rate
    resampler = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    read = 0
    try:
        with soundfile.SoundFile(path) as file:
            while len(block := file.read(BLOCK_S * rate, dtype="float32", always_2d=True)):
                read += len(block)
                mono = block.mean(axis=1)  # [n, C] to [n]
                if not np.isfinite(mono).all():
                    raise UnreadableError("holds samples that are not numbers; export it again")
                yield mono if resampler is None else resampler.resample_chunk(mono)
    except soundfile.LibsndfileError as error:
        raise UnreadableError(f"is damaged or truncated after {read / rate:.1f} s ({error}); copy it again") from error
    if read + LENGTH_TOLERANCE < round(facts.seconds * rate):
        raise UnreadableError(f"is truncated ({read / rate:.1f} s of {facts.seconds:.1f} s are there); copy it again")
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def read_whole(path: Path, facts: Facts) -> Samples:
    """The blocks of `read_blocks` in one piece, `[T] float32`."""
    return np.concatenate(list(read_blocks(path, facts)))


def _is_cut(path: Path, info: "soundfile._SoundFileInfo") -> bool:
    """Whether the file ends too early, for the formats whose headers libsndfile quietly corrects."""
    if info.format == "OGG":
        return _ogg_is_cut(path)
    # WAV, W64, AIFF: libsndfile's log has the size of the header and the real one. A streamed WAV of unknown
    # length says 0 or the largest number, which is no cut.
    sizes = [line for line in info.extra_info.splitlines() if "data" in line.lower() or "SSND" in line]
    unknown = ("4294967295", "2147483647", ": 0 ")
    return any("should be" in line and not any(mark in line for mark in unknown) for line in sizes)


def _ogg_is_cut(path: Path) -> bool:
    """Whether the last page of an Ogg file (RFC 3533) is incomplete."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 2 * _OGG_PAGE_MAX))
        tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < _OGG_HEADER:
        return True
    lengths = page[_OGG_HEADER : _OGG_HEADER + page[26]]  # byte 26: how many segments
    return len(lengths) < page[26] or len(page) < _OGG_HEADER + len(lengths) + sum(lengths)
