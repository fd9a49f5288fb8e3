"""Store arrays of many lengths in one growing file: caches that are computed once and read many times.

A store is two files: `NAME.bin` holds the rows one after the other, `NAME.index` a line `rows<TAB>key` for each array.
A line is written after its rows, so that an interrupted run loses the last array and nothing else.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

Array = npt.NDArray[Any]


def fingerprint(*parts: object) -> str:
    """Return twelve hexadecimal digits of a SHA-256 over the parts' reprs, for a store's name."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(repr(part).encode() + b"\0")
    return digest.hexdigest()[:12]


def fingerprint_of_weights(parameters: Iterable[Tensor]) -> str:
    """Return the same for weights, in their order."""
    digest = hashlib.sha256()
    for parameter in parameters:
        digest.update(parameter.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:12]


class RaggedStore:
    """Arrays `[rows, width]` of one dtype by key, in files that one process writes.

    Args:
        path: without suffix; its folder is made.
        width: columns of every array.
        dtype: of every value.
    """

    def __init__(self, path: Path, width: int, dtype: npt.DTypeLike = np.float16) -> None:
        self.width, self.dtype = width, np.dtype(dtype)
        self._data_path, self._index_path = path.with_name(path.name + ".bin"), path.with_name(path.name + ".index")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._data_path.touch()
        self._index_path.touch()
        self._places: dict[str, tuple[int, int]] = {}  # key: (first row, rows)
        self._rows = 0
        self._recover()
        self._map: Array | None = None

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def rows(self, key: str) -> int:
        """Return the number of rows of the array `key`."""
        return self._places[key][1]

    def __getitem__(self, key: str) -> Array:
        """Return the array `[rows, width]`, a read-only view of the file.

        Raises:
            KeyError: no such array.
        """
        first, rows = self._places[key]
        if self._map is None or first + rows > len(self._map):
            self._map = np.memmap(self._data_path, self.dtype, "r", shape=(self._rows, self.width))
        return self._map[first : first + rows]

    def append(self, key: str, array: Array) -> None:
        """Append an array `[rows, width]`, rows >= 1.

        Raises:
            ValueError: the key is taken, or the shape is wrong.
        """
        if key in self._places or array.ndim != 2 or array.shape[1] != self.width or not len(array):
            raise ValueError(f"{key!r} with shape {array.shape} cannot be stored in rows of {self.width}.")
        with self._data_path.open("ab") as stream:
            stream.write(np.ascontiguousarray(array, dtype=self.dtype).tobytes())
        with self._index_path.open("a", encoding="utf-8") as stream:
            stream.write(f"{len(array)}\t{key}\n")
        self._places[key] = (self._rows, len(array))
        self._rows += len(array)

    def _recover(self) -> None:
        """Read the index as far as the data reaches, and truncate both files there."""
        row_bytes = self.width * self.dtype.itemsize
        stored = self._data_path.stat().st_size // row_bytes
        whole = self._index_path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = []
        for line in whole:
            rows, _, key = line.rstrip("\n").partition("\t")
            if not (line.endswith("\n") and rows.isdecimal() and self._rows + int(rows) <= stored):
                break
            self._places[key] = (self._rows, int(rows))
            self._rows += int(rows)
            kept.append(line)
        if len(kept) < len(whole):
            self._index_path.write_text("".join(kept), encoding="utf-8")
        if self._data_path.stat().st_size != self._rows * row_bytes:
            with self._data_path.open("r+b") as stream:
                stream.truncate(self._rows * row_bytes)
