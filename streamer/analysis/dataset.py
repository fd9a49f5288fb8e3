"""What `embed` leaves behind, and reading it again."""

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamer.analysis.cache import RowCache
from streamer.analysis.embed import Embedded, Failure
from streamer.analysis.embedder import EmbedSettings
from streamer.errors import StreamerError, UsageError

ARRAYS, LABELS, METADATA, FAILED, SETTINGS = (
    "embeddings.npy",
    "labels.npy",
    "metadata.csv",
    "failed.csv",
    "embed.json",
)
COLUMNS = (
    "path",
    "label",
    "speaker",
    "seconds",
    "sample_rate_hz",  # of the file
    "channels",  # of the file
    "first_row",  # of embeddings.npy
    "rows",
    "note",
    "sha256",  # of the file
)
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EmbeddingSet:
    """A set of embeddings as it was written.

    Attributes:
        embeddings: `[N, D]` float32, `[N, K]` int16 for codes; not read into memory before it is used.
        first_rows, rows: `[R]`: where the rows of each of R recordings begin, and how many they are.
        names, labels, speakers: of the R recordings; empty where not known.
        about: what the set was made with.
    """

    embeddings: npt.NDArray[Any]
    first_rows: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    names: list[str]
    labels: list[str]
    speakers: list[str]
    about: dict[str, Any]

    @property
    def owners(self) -> npt.NDArray[np.int64]:
        """`[N]`: which recording each row comes from."""
        return np.repeat(np.arange(len(self.rows)), self.rows)

    def per_recording(self) -> npt.NDArray[np.float32]:
        """`[R, D]`: each recording's row, or the mean of its frames.

        Raises:
            UsageError: these are codes, which have no mean.
        """
        if not np.issubdtype(self.embeddings.dtype, np.floating):
            raise UsageError("Codes cannot be compared as numbers; run embed with --kind encoder or quantized.")
        if (self.rows == 1).all():
            return np.asarray(self.embeddings[self.first_rows])
        spans = zip(self.first_rows.tolist(), self.rows.tolist(), strict=True)
        return np.stack([self.embeddings[first : first + rows].mean(axis=0) for first, rows in spans])


def write_set(
    out: Path,
    items: Sequence[Embedded],
    failures: Sequence[Failure],
    cache: RowCache,
    settings: EmbedSettings,
    model: str,
) -> None:
    """Writes the arrays into the folder `out`, each file in one piece or not at all.

    `labels.npy` has one label for each row of `embeddings.npy`; `metadata.csv` one line for each recording.
    """
    entries = [cache[item.facts.sha256] for item in items]
    counts = np.array([entry.rows for entry in entries], dtype=np.int64)
    firsts = np.cumsum(counts) - counts

    def arrays(path: Path) -> None:
        shape = (int(counts.sum()), entries[0].width)
        target = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(entries[0].dtype), shape=shape)
        position = 0
        for item in items:
            for piece in cache.pieces(item.facts.sha256):
                target[position : position + len(piece)] = piece
                position += len(piece)
        target.flush()

    def labels(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, np.repeat(np.array([item.recording.label for item in items], dtype=np.str_), counts))

    about = {**asdict(settings), "model": model}
    _write(out / ARRAYS, arrays)
    _write(out / LABELS, labels)
    _write(out / METADATA, lambda path: _write_csv(path, COLUMNS, _metadata(items, firsts, counts)))
    _write(out / FAILED, lambda path: _write_csv(path, ("path", "reason"), ([f.name, f.reason] for f in failures)))
    _write(out / SETTINGS, lambda path: path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8"))


def read_set(out: Path) -> EmbeddingSet:
    """What `write_set` wrote.

    Raises:
        UsageError: `out` holds no embeddings.
        StreamerError: the files do not belong together.
    """
    if not (out / ARRAYS).is_file() or not (out / METADATA).is_file():
        raise UsageError(f"{out} holds no {ARRAYS} and {METADATA}; make them with streamer embed FOLDER -o {out}.")
    embeddings = np.load(out / ARRAYS, mmap_mode="r")
    with (out / METADATA).open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    rows = np.array([int(line["rows"]) for line in lines], dtype=np.int64)
    if rows.sum() != len(embeddings):
        raise StreamerError(f"{ARRAYS} and {METADATA} in {out} are not of one run; run streamer embed again.")
    about = json.loads((out / SETTINGS).read_text(encoding="utf-8")) if (out / SETTINGS).is_file() else {}
    return EmbeddingSet(
        embeddings=embeddings,
        first_rows=np.array([int(line["first_row"]) for line in lines], dtype=np.int64),
        rows=rows,
        names=[line["path"] for line in lines],
        labels=[line["label"] for line in lines],
        speakers=[line["speaker"] for line in lines],
        about=about,
    )


def write_parquet(path: Path, items: Sequence[Embedded], cache: RowCache) -> None:
    """Everything in one Parquet file, a line for each row: the columns of `metadata.csv`, `frame` and `embedding`.

    Raises:
        StreamerError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ImportError as error:
        raise StreamerError("Parquet files need pyarrow; pip install pyarrow, or give a folder with -o.") from error
    about = ("path", "label", "speaker", "seconds", "note", "sha256")
    first = cache[items[0].facts.sha256]
    values = pa.list_(pa.from_numpy_dtype(np.dtype(first.dtype)), first.width)
    fields = [(name, pa.float64() if name == "seconds" else pa.string()) for name in about]
    schema = pa.schema([*fields, ("frame", pa.int64()), ("embedding", values)])

    def write(target: Path) -> None:
        with pq.ParquetWriter(target, schema) as writer:
            for item in items:
                told = dict(zip(COLUMNS, _line(item, 0, 0), strict=True))
                position = 0
                for piece in cache.pieces(item.facts.sha256):
                    columns = [pa.array([told[name]] * len(piece), kind) for name, kind in fields]
                    frames = pa.array(np.arange(position, position + len(piece)))
                    embedded = pa.FixedSizeListArray.from_arrays(pa.array(piece.reshape(-1)), first.width)
                    writer.write_table(pa.Table.from_arrays([*columns, frames, embedded], schema=schema))
                    position += len(piece)

    _write(path, write)


def _metadata(
    items: Sequence[Embedded], firsts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> Iterator[list[Any]]:
    for item, first, count in zip(items, firsts.tolist(), counts.tolist(), strict=True):
        yield _line(item, first, count)


def _line(item: Embedded, first_row: int, rows: int) -> list[Any]:
    """One recording in the order of COLUMNS."""
    recording, facts = item.recording, item.facts
    told = [
        recording.name,
        recording.label,
        recording.speaker,
        round(facts.seconds, 3),
        facts.sample_rate,
        facts.channels,
    ]
    return [*told, first_row, rows, facts.note, facts.sha256]


def _write_csv(path: Path, columns: Sequence[str], lines: Iterator[list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(lines)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` make the file under another name, which becomes `path` once it is complete."""
    partial = path.with_name(path.name + ".part")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
