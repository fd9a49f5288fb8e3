"""Read whole recordings as 24 kHz mono, for training, evaluation and `streamer embed`.

The reader and its policy for defects are those of a recording that is played (`audio.recording`): samples are repaired,
all that is there is used, and `notice` and `damage` report the rest.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.arrays import Samples
from streamer.audio.downmix import Downmix
from streamer.audio.resample import Resampler
from streamer.constants import SAMPLE_RATE
from streamer.decoding.recording import Recording
from streamer.errors import StreamerError

# Of the samples that a recording decodes to: part of the name of whatever is computed from them and kept. 1: libsndfile
# alone. 2: FFmpeg's libraries, and one policy for defects.
READER_VERSION = 2
BLOCK_S = 10  # yielded at once


class UnreadableError(StreamerError):
    """A recording cannot be used; the message says what is wrong with it and starts in mid-sentence, after its name."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A whole recording."""

    samples: Samples  # [T] float32 at 24 kHz
    notice: str  # what was repaired, one sentence; empty where nothing was
    problem: str  # what could not be read, one sentence; empty where all was


@dataclass(frozen=True, slots=True)
class Facts:
    """A recording's digest, length and defects, known before it is encoded."""

    sha256: str  # of the file's bytes
    sample_rate: int  # Hz, the file's own
    channels: int
    seconds: float  # decoded
    repaired: str = ""  # what was, one sentence; empty where nothing was
    damage: str = ""  # what could not be read, in mid-sentence after the file's name; empty where all was
    starts_late: bool = False  # an MP3 without an info frame

    @property
    def samples(self) -> int:
        """Length in samples at 24 kHz."""
        return round(self.seconds * SAMPLE_RATE)

    @property
    def note(self) -> str:
        """What could not be read, was repaired, or changed by the conversion to 24 kHz mono; empty if nothing."""
        changes = [self.damage] if self.damage else []
        if self.channels > 1:
            changes.append(f"{self.channels} channels were mixed to one")
        if self.sample_rate < SAMPLE_RATE:
            changes.append(f"{self.sample_rate:,} Hz: nothing lies above {self.sample_rate // 2:,} Hz")
        if self.starts_late:
            changes.append("an MP3 without an info frame: it starts 1,105 samples late")
        if self.repaired:
            changes.append(self.repaired[0].lower() + self.repaired[1:].rstrip("."))
        return "; ".join(changes)


def read_recording(path: Path) -> Decoded:
    """Read a whole file.

    Raises:
        StreamerError: it cannot be decoded, or holds no samples.
    """
    recording = Recording(path)
    samples = np.concatenate([np.zeros(0, dtype=np.float32), *_blocks(recording)])
    if not len(samples):
        raise StreamerError(f"{path} holds no sound; take it out of the corpus.")
    return Decoded(samples, recording.notice, recording.problem)


def read_facts(path: Path, track: int = 0) -> Facts:
    """Hash a file, and decode it once: headers state lengths that are not true, and none of the defects.

    Raises:
        UnreadableError: it cannot be opened, is no recording, lacks the audio track, or holds no samples.
    """
    recording = Recording(path, track=track)
    try:
        if path.stat().st_size == 0:
            raise UnreadableError("is empty (0 bytes); copy it again")
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableError(f"cannot be opened ({error.strerror or type(error).__name__})") from error
    try:
        recording.open()
    except StreamerError as error:
        raise UnreadableError(str(error).removeprefix(f"{str(path)!r} ").rstrip(".")) from error
    frames = 0
    while (block := recording.read(round(BLOCK_S * recording.rate_hz))) is not None:
        frames += len(block)
    recording.close()
    if not frames:
        nothing = "holds no sound (0 samples); record it again or remove it"
        raise UnreadableError(nothing if recording.damage.startswith("holds") else recording.damage)
    return Facts(
        digest,
        int(recording.rate_hz),
        recording.channels,
        frames / recording.rate_hz,
        recording.notice,
        recording.damage,
        recording.lacks_info_frame,
    )


def read_blocks(path: Path, track: int = 0) -> Iterator[Samples]:
    """Yield a recording as 24 kHz mono, [n] float32 block by block; together they equal the whole resampled at once.

    Raises:
        UnreadableError: it can no longer be read.
    """
    try:
        yield from _blocks(Recording(path, track=track))
    except StreamerError as error:
        raise UnreadableError(str(error).removeprefix(f"{str(path)!r} ").rstrip(".")) from error


def read_whole(path: Path, track: int = 0) -> Samples:
    """Read a recording as `read_blocks` does, in one piece, [T] float32."""
    return np.concatenate(list(read_blocks(path, track)))


def _blocks(recording: Recording) -> Iterator[Samples]:
    """Open, decode, mix, resample and close."""
    recording.open()
    try:
        rate_hz = round(recording.rate_hz)
        resampler = None if rate_hz == SAMPLE_RATE else Resampler(rate_hz)
        downmix = Downmix()
        some: list[Samples] = []
        while (block := recording.read(round(BLOCK_S * rate_hz))) is not None:
            mono = downmix.process(block)
            some.append(mono if resampler is None else resampler.process(mono))
            if sum(map(len, some)) >= BLOCK_S * SAMPLE_RATE:
                yield np.concatenate(some)
                some = []
        if resampler is not None:
            some.append(resampler.flush())
        if some:
            yield np.concatenate(some)
    finally:
        recording.close()
