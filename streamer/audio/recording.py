"""Read an audio file block by block for playback; it is never loaded whole."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from streamer.audio.resample import Block
from streamer.errors import StreamerError, UsageError

MISSING_TOLERANCE_S = 0.5  # an MP3 without an index only estimates its length
STREAMED_SIZE = 0x7FFF_FF00  # a WAV that was written to a pipe claims the largest size it can


class Recording:
    """Implements `playback.BlockReader` for a file that libsndfile decodes; with `loop` it repeats for ever."""

    def __init__(self, path: str | Path, loop: bool = False) -> None:
        self._path = Path(path).expanduser()
        self._loop = loop
        self._file: Any = None
        self._frames_read = 0  # since the file's beginning
        self.device = self._path.name
        self.rate_hz = 0.0
        self.channels = 0
        self.problem = ""

    def open(self) -> None:
        """Open the file and read its header.

        Raises:
            UsageError: there is no such file, or it may not be read.
            StreamerError: it is not audio.
        """
        try:
            with self._path.open("rb"):
                pass
        except OSError as error:
            raise UsageError(f"{str(self._path)!r} cannot be read: {error.strerror}; name an audio file.") from error
        try:
            self._file = soundfile.SoundFile(self._path)
        except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: *.raw has no header
            raise StreamerError(
                f"{str(self._path)!r} is not an audio file that libsndfile reads (WAV, FLAC, Ogg, MP3 and more); "
                f"pipe raw PCM in with `-`."
            ) from error
        self.rate_hz = float(self._file.samplerate)
        self.channels = int(self._file.channels)

    def read(self, frames: int) -> Block | None:
        """Return the next `frames` frames, fewer before the end, as [n, channels] float32; None at the end."""
        block = self._read(frames)
        if len(block) == 0 and self._loop and self._frames_read and not self.problem:
            self._file.seek(0)
            self._frames_read = 0
            block = self._read(frames)
        if len(block):
            self._frames_read += len(block)
            return block
        self.problem = self.problem or self._problem_at_end()
        return None

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if self._file is not None:
            self._file.close()

    def _read(self, frames: int) -> npt.NDArray[np.float32]:
        try:
            block: npt.NDArray[np.float32] = self._file.read(frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            self.problem = self._cut_short()
            return np.zeros((0, self.channels), dtype=np.float32)
        return block

    def _problem_at_end(self) -> str:
        if self._frames_read == 0:
            return f"{self.device!r} holds no audio; name another file."
        missing = self._file.frames - self._frames_read
        if missing > MISSING_TOLERANCE_S * self.rate_hz or _claims_more(self._file.extra_info):
            return self._cut_short()
        return ""

    def _cut_short(self) -> str:
        return (
            f"{self.device!r} is damaged or cut short after {self._frames_read / self.rate_hz:.1f} s, "
            f"and what came before was played; get a whole copy of it."
        )


def _claims_more(libsndfile_log: str) -> bool:
    """Return whether the header announces more audio than the file holds."""
    sizes = re.search(r"(?:data|SSND) +: +(\d+) \(should be (\d+)\)", libsndfile_log)
    return sizes is not None and int(sizes[2]) < int(sizes[1]) < STREAMED_SIZE
