"""Write and read the files of `streamer embed`: arrays, metadata, failures and settings, or Parquet."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamer.analysis.cache import RowCache
from streamer.analysis.embed import Embedded, Failure
from streamer.analysis.settings import EmbedSettings
from streamer.arrays import Float32Array, IntArray
from streamer.errors import StreamerError, UsageError
from streamer.extras import install_command
from streamer.replacing import replacing
from streamer.spreadsheet import csv_cell, csv_text

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
    "corpus",
    "file",  # where it was when it was embedded, so that the report can play it
)


@dataclass(frozen=True, slots=True)
class EmbeddingSet:
    """A set of embeddings as written to disk.

    Attributes:
        embeddings: `[N, D]` float32, `[N, K]` int16 for codes; memory-mapped.
        first_rows, rows: `[R]`, the first row and the number of rows of each of R recordings.
        names, labels, speakers, corpora: of the R recordings; empty where not known.
        files: absolute paths; empty where not known.
        seconds: lengths.
        about: the model and the settings that the set was made with.
    """

    embeddings: npt.NDArray[Any]
    first_rows: IntArray
    rows: IntArray
    names: list[str]
    labels: list[str]
    speakers: list[str]
    corpora: list[str]
    files: list[str]
    seconds: list[float]
    about: dict[str, Any]

    @property
    def owners(self) -> IntArray:
        """Index of the recording that each row comes from, `[N]`."""
        return np.repeat(np.arange(len(self.rows)), self.rows)

    def per_recording(self) -> Float32Array:
        """Return one vector per recording, `[R, D]`: its row, or the mean of its frames.

        Raises:
            UsageError: the rows are codes, which have no mean.
        """
        if not np.issubdtype(self.embeddings.dtype, np.floating):
            raise UsageError("Codes are indices without a distance; run embed with --kind encoder or quantized.")
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
    """Write the arrays, tables and settings into the folder `out`, each file completely or not at all.

    `labels.npy` has one label for each row of `embeddings.npy`, `metadata.csv` one line for each recording.
    """
    entries = [cache[item.facts.sha256] for item in items]
    counts = np.array([entry.rows for entry in entries], dtype=np.int64)
    firsts = np.cumsum(counts) - counts

    def arrays(path: Path) -> None:
        # Written piece by piece, not through a memory map: on a full disk that would end the process with a signal.
        shape = (int(counts.sum()), entries[0].width)
        descr = np.lib.format.dtype_to_descr(np.dtype(entries[0].dtype))
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
            for item in items:
                for piece in cache.pieces(item.facts.sha256):
                    file.write(piece.tobytes())

    def labels(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, np.repeat(np.array([item.recording.label for item in items], dtype=np.str_), counts))

    about = {**asdict(settings), "model": model}
    _replace(out / ARRAYS, arrays)
    _replace(out / LABELS, labels)
    _replace(out / METADATA, lambda path: _write_csv(path, COLUMNS, _metadata(items, firsts, counts)))
    _replace(out / FAILED, lambda path: _write_csv(path, ("path", "reason"), ([f.name, f.reason] for f in failures)))
    _replace(out / SETTINGS, lambda path: path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8"))


def read_set(out: Path) -> EmbeddingSet:
    """Read what `write_set` wrote.

    Raises:
        UsageError: `out` holds no embeddings.
        StreamerError: the files come from different runs.
    """
    if not (out / ARRAYS).is_file() or not (out / METADATA).is_file():
        raise UsageError(f"{out} holds no {ARRAYS} and {METADATA}; make them with streamer embed FOLDER -o {out}.")
    try:
        return _read_set(out)
    except StreamerError:
        raise
    except Exception as error:  # NumPy reads a header with Python's own parser, and raises whatever that does
        raise StreamerError(
            f"The embeddings in {out} are damaged ({type(error).__name__}); run streamer embed again."
        ) from error


def _read_set(out: Path) -> EmbeddingSet:
    embeddings = np.load(out / ARRAYS, mmap_mode="r")
    with (out / METADATA).open(newline="", encoding="utf-8") as file:
        lines = [{name: csv_text(cell or "") for name, cell in line.items()} for line in csv.DictReader(file)]
    rows = np.array([int(line["rows"]) for line in lines], dtype=np.int64)
    firsts = np.array([int(line["first_row"]) for line in lines], dtype=np.int64)
    whole = embeddings.ndim == 2 and embeddings.dtype.kind in "fi" and len(rows) > 0 and bool((rows > 0).all())
    if not whole or rows.sum() != len(embeddings) or not np.array_equal(firsts, np.cumsum(rows) - rows):
        raise StreamerError(f"{ARRAYS} and {METADATA} in {out} are not from one run; run streamer embed again.")
    about = json.loads((out / SETTINGS).read_text(encoding="utf-8")) if (out / SETTINGS).is_file() else {}
    if not isinstance(about, dict):
        raise ValueError(SETTINGS)
    return EmbeddingSet(
        embeddings=embeddings,
        first_rows=firsts,
        rows=rows,
        names=[str(line["path"]) for line in lines],
        labels=[line["label"] for line in lines],
        speakers=[line["speaker"] for line in lines],
        corpora=[_corpus(line) for line in lines],
        files=[line.get("file") or "" for line in lines],
        seconds=[float(line["seconds"]) for line in lines],
        about=about,
    )


def _corpus(line: dict[str, str]) -> str:
    """Return the corpus of a line; sets of version 0.2 tell it in the speaker alone, `crema-d/1001`."""
    stated = line.get("corpus")
    return (line["speaker"] or "").rpartition("/")[0] if stated is None else stated


def write_parquet(path: Path, items: Sequence[Embedded], cache: RowCache) -> None:
    """Write one Parquet file with a record for each row: columns of `metadata.csv`, `frame` and `embedding`.

    Raises:
        StreamerError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise StreamerError(
            f"Parquet files need pyarrow, which is not installed; {install_command('sessions')}, or give -o a folder."
        ) from error
    about = ("path", "label", "speaker", "seconds", "note", "sha256")
    first = cache[items[0].facts.sha256]
    values = pa.list_(pa.from_numpy_dtype(np.dtype(first.dtype)), first.width)
    fields = [(name, pa.float64() if name == "seconds" else pa.string()) for name in about]
    schema = pa.schema([*fields, ("frame", pa.int64()), ("embedding", values)])

    def write(target: Path) -> None:
        with pq.ParquetWriter(target, schema) as writer:
            for item in items:
                values_of = dict(zip(COLUMNS, _metadata_line(item, 0, 0), strict=True))
                position = 0
                for piece in cache.pieces(item.facts.sha256):
                    columns = [pa.array([values_of[name]] * len(piece), kind) for name, kind in fields]
                    frames = pa.array(np.arange(position, position + len(piece)))
                    embedded = pa.FixedSizeListArray.from_arrays(pa.array(piece.reshape(-1)), first.width)
                    writer.write_table(pa.Table.from_arrays([*columns, frames, embedded], schema=schema))
                    position += len(piece)

    _replace(path, write)


def _metadata(items: Sequence[Embedded], firsts: IntArray, counts: IntArray) -> Iterator[list[Any]]:
    for item, first, count in zip(items, firsts.tolist(), counts.tolist(), strict=True):
        yield _metadata_line(item, first, count)


def _metadata_line(item: Embedded, first_row: int, rows: int) -> list[Any]:
    """Return the values of one recording, in the order of COLUMNS."""
    recording, facts = item.recording, item.facts
    names = [recording.name, recording.label, recording.speaker]
    audio = [round(facts.seconds, 3), facts.sample_rate, facts.channels]
    return [*names, *audio, first_row, rows, facts.note, facts.sha256, recording.corpus, str(recording.path.resolve())]


def _write_csv(path: Path, columns: Sequence[str], lines: Iterator[list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(map(csv_cell, line) for line in lines)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make the file under a temporary name, and rename it to `path` once it is complete."""
    with replacing(path) as partial:
        write(partial)
