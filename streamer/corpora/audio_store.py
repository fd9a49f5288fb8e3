"""Decoded recordings of a corpus, kept in one file."""

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from streamer.arrays import Samples
from streamer.constants import FRAME_SAMPLES
from streamer.corpora.array_store import RaggedStore
from streamer.corpora.corpus import Clip
from streamer.decoding.files import READER_VERSION, read_recording
from streamer.errors import StreamerError, UsageError
from streamer.progress import Progress

_DECODED_AT_ONCE = 64  # clips: what lies between two bars of progress

logger = logging.getLogger(__name__)


class AudioStore:
    """Decoded recordings, 16 bits a sample, how long each file was that they come from, and what could not be read.

    The files' names hold the reader's version: what an earlier one decoded is decoded again, and so is everything that
    is computed from it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        stem = f"audio-{READER_VERSION}"
        is_new = not (folder / f"{stem}.bin").exists()
        self._store = RaggedStore(folder / stem, 1, np.int16)
        self._sizes_path = folder / f"{stem}-sizes.json"
        self._problems_path = folder / f"{stem}-problems.json"
        earlier = sorted(path for path in folder.glob("audio*.bin") if path.stem != stem)
        if is_new and earlier:
            logger.warning(
                "%s was decoded by an earlier version of the reader; the recordings are decoded again, and their "
                "features are computed again. The old files in %s can be removed.", earlier[0].name, folder,
            )  # fmt: skip

    def prepare(self, clips: Sequence[Clip], progress: Progress[int]) -> None:
        """Decode what is not there yet, as far as it can be read; `problems` reports the rest.

        Raises:
            UsageError: a file is not the one that was decoded under its name.
            StreamerError: a recording cannot be read.
        """
        sizes: dict[str, int] = _load(self._sizes_path)
        problems: dict[str, str] = _load(self._problems_path)
        for clip in clips:
            size = clip.path.stat().st_size
            if clip.key in self._store and sizes.get(clip.key, size) != size:
                raise UsageError(
                    f"{clip.path} is not the recording that {self._folder} holds under its name; "
                    "give another --work folder, or remove this one."
                )
            sizes[clip.key] = size
        left = [clip for clip in clips if clip.key not in self._store]
        with ThreadPoolExecutor() as pool:  # the decoders run outside of Python's lock
            for first in progress(range(0, len(left), _DECODED_AT_ONCE), "decoding"):
                some = left[first : first + _DECODED_AT_ONCE]
                for clip, decoded in zip(some, pool.map(lambda clip: read_recording(clip.path), some), strict=True):
                    if decoded.notice:
                        logger.warning("%s: %s", clip.path, decoded.notice)
                    if decoded.problem:
                        logger.warning("%s: %s", clip.path.parent, decoded.problem)
                        problems[clip.key] = decoded.problem
                    samples = np.clip(np.round(decoded.samples * 32767), -32768, 32767)
                    self._store.append(clip.key, samples[:, None])
        _save(self._problems_path, problems)
        _save(self._sizes_path, sizes)

    def problems(self, clips: Sequence[Clip]) -> list[str]:
        """Return what could not be read of `clips`, a sentence for each that was not read whole."""
        problems: dict[str, str] = _load(self._problems_path)
        return [problems[clip.key] for clip in clips if clip.key in problems]

    def __contains__(self, key: str) -> bool:
        return key in self._store

    def __getitem__(self, key: str) -> Samples:
        """`[T]` at 24 kHz."""
        samples: Samples = self._store[key][:, 0].astype(np.float32) / np.float32(32768)
        return samples

    def frames(self, key: str) -> int:
        """Whole frames of 320 samples in a recording, at least 1."""
        return max(1, self._store.rows(key) // FRAME_SAMPLES)


def require_whole(folder: Path, clips: Sequence[Clip]) -> None:
    """Raise StreamerError where some of `clips`, decoded in `folder`, could not be read whole; for the end of a run."""
    problems = AudioStore(folder).problems(clips)
    if problems:
        count = "1 recording was" if len(problems) == 1 else f"{len(problems):,} recordings were"
        raise StreamerError(f"All is written, but {count} not read whole: {problems[0]}")


def _load(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else {}


def _save(path: Path, values: dict[str, Any]) -> None:
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(values))
    partial.replace(path)
