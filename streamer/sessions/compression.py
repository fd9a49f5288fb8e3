"""Compress a finished file a bit at a time, so that midnight costs hearing nothing."""

import os
import zlib
from pathlib import Path
from typing import BinaryIO

STEP_BYTES = 4 << 20  # some 60 ms of one core
UNFINISHED = ".gz.part"
_GZIP = 16 + zlib.MAX_WBITS


class Compression:
    """Turns `plain` into `compressed`; a kill at any moment leaves one of them whole."""

    def __init__(self, plain: Path, compressed: Path) -> None:
        self._plain = plain
        self._compressed = compressed
        self._unfinished = compressed.with_name(compressed.name.removesuffix(".gz") + UNFINISHED)
        self._source: BinaryIO | None = None
        self._target: BinaryIO | None = None
        self._packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)

    def step(self) -> bool:
        """Compress the next piece; return whether the work is over.

        Raises:
            OSError: the disk is full or failed; nothing is lost, and the work is to begin anew.
        """
        try:
            if self._compressed.exists():  # a kill came between the last two steps
                self._plain.unlink(missing_ok=True)
                return True
            if self._source is None or self._target is None:
                self._source, self._target = self._plain.open("rb"), self._unfinished.open("wb")
            piece = self._source.read(STEP_BYTES)
            if piece:
                self._target.write(self._packer.compress(piece))
                return False
            self._target.write(self._packer.flush())
            self._target.flush()
            os.fsync(self._target.fileno())
        except BaseException:
            self.abandon()
            raise
        self._close()
        self._unfinished.replace(self._compressed)
        self._plain.unlink()
        return True

    def abandon(self) -> None:
        """Give up; the plain file stays."""
        self._close()
        self._unfinished.unlink(missing_ok=True)

    def _close(self) -> None:
        for file in (self._source, self._target):
            if file is not None:
                file.close()
        self._source = self._target = None
