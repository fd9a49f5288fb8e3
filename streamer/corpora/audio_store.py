"""Cache the decoded recordings of a corpus in one file."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from streamer.arrays import Samples
from streamer.audio.files import read_lenient
from streamer.constants import FRAME_SAMPLES
from streamer.corpora.array_store import RaggedStore
from streamer.corpora.corpus import Clip
from streamer.errors import UsageError
from streamer.progress import Progress

_DECODED_AT_ONCE = 64  # clips between two updates of the progress bar


class AudioStore:
    """Decoded recordings, 16 bits a sample, with the size of the file that each was decoded from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = RaggedStore(folder / "audio", 1, np.int16)
        self._sizes_path = folder / "audio-sizes.json"

    def prepare(self, clips: Sequence[Clip], progress: Progress[int]) -> None:
        """Decode the clips that the store lacks.

        Raises:
            UsageError: a file is not the one that was decoded under its key.
            StreamerError: a recording cannot be read.
        """
        sizes: dict[str, int] = json.loads(self._sizes_path.read_text()) if self._sizes_path.is_file() else {}
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
                for clip, audio in zip(some, pool.map(lambda clip: read_lenient(clip.path), some), strict=True):
                    samples = np.clip(np.round(audio * 32767), -32768, 32767)
                    self._store.append(clip.key, samples[:, None])
        partial = self._sizes_path.with_suffix(".part")
        partial.write_text(json.dumps(sizes))
        partial.replace(self._sizes_path)

    def __contains__(self, key: str) -> bool:
        return key in self._store

    def __getitem__(self, key: str) -> Samples:
        """Return the samples `[T]` at 24 kHz."""
        samples: Samples = self._store[key][:, 0].astype(np.float32) / np.float32(32768)
        return samples

    def frames(self, key: str) -> int:
        """Return the number of whole frames of 320 samples in a recording, at least 1."""
        return max(1, self._store.rows(key) // FRAME_SAMPLES)
