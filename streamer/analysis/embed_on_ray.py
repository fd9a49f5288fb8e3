"""Embed recordings in processes on all machines of a Ray cluster.

Each batch of recordings, the same as in a local run, becomes one Parquet file, which an actor writes where the cache
is: a folder that every node sees. What travels through Ray is the names of recordings. This process takes finished
parts over into the row cache, so that a local run goes on where one on Ray stopped, and the other way round.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from streamer.analysis.cache import CHUNK_ROWS, RowCache, Rows
from streamer.analysis.embed import Embedded, Progress, embed_batch
from streamer.analysis.embedder import Embedder
from streamer.fleet.batches import spread
from streamer.replacing import replacing

DIED = "ended the process that read it; look at this file by itself"

_SCHEMA = pa.schema(
    [
        ("sha256", pa.string()),
        ("piece", pa.int64()),  # a long recording has several
        ("rows", pa.binary()),  # [n, D]; none for a failure
        ("width", pa.int64()),  # D
        ("dtype", pa.string()),
        ("reason", pa.string()),  # why it could not be embedded; empty where it was
    ]
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """How a process embeds; it travels there."""

    make: Callable[[], Embedder]  # a partial of a module's function
    folder: Path  # of the parts
    track: int
    threads: int = 1  # of the CPU


class RayRunner:
    """Implements `embed.Runner`.

    Args:
        work: how a process embeds.
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    def __call__(
        self, batches: Sequence[Sequence[Embedded]], cache: RowCache, progress: Progress
    ) -> Iterator[tuple[str, str]]:
        """Store the rows of all batches; yield (sha256, reason) for every recording that is unreadable."""
        folder = self._work.folder
        folder.mkdir(parents=True, exist_ok=True)
        seconds = {item.facts.sha256: item.facts.seconds for batch in batches for item in batch}
        for part in sorted(folder.glob("[!.]*.parquet")):  # of a run that was interrupted
            for sha256 in take_over(part, cache):
                progress.advance(seconds.pop(sha256, 0.0))
        left = [batch for batch in batches if any(item.facts.sha256 in seconds for item in batch)]
        if not left:
            return
        absolute = [[_absolute(item) for item in batch] for batch in left]
        for name in spread(absolute, partial(_make, self._work), self._work.threads):
            part, failures = folder / name, {}
            for row in pq.read_table(part, columns=["sha256", "reason"]).to_pylist():
                if row["reason"]:
                    failures[row["sha256"]] = row["reason"]
            for sha256 in [*take_over(part, cache), *failures]:
                progress.advance(seconds.pop(sha256, 0.0))
            yield from failures.items()
        yield from ((sha256, DIED) for sha256 in seconds if sha256 not in cache)


def take_over(part: Path, cache: RowCache) -> list[str]:
    """Store in the cache what it lacks of a part; return the SHA-256 of the recordings that the part has rows of."""
    try:
        table = pq.read_table(part)
    except (OSError, pa.ArrowInvalid):
        logger.warning("%s is no whole Parquet file; what was in it is computed anew.", part)
        return []
    pieces: dict[str, list[Rows]] = {}
    for row in table.to_pylist():
        if row["rows"] is not None:
            values = np.frombuffer(row["rows"], np.dtype(row["dtype"])).reshape(-1, row["width"])
            pieces.setdefault(row["sha256"], []).append(values)
    cache.put((sha256, rows) for sha256, rows in pieces.items() if sha256 not in cache)
    return list(pieces)


def _absolute(item: Embedded) -> Embedded:
    """Return it with a path that is right in every process."""
    return replace(item, recording=replace(item.recording, path=item.recording.path.absolute()))


def _make(work: Work) -> Callable[[Sequence[Embedded]], str]:
    import torch

    torch.set_num_threads(work.threads)
    return partial(_write, work, work.make())


def _write(work: Work, embedder: Embedder, batch: Sequence[Embedded]) -> str:
    """Embed a batch, write its part, return the part's name."""
    name = f"{batch[0].facts.sha256[:32]}-{len(batch)}.parquet"
    store = _Rows()
    failures = dict(embed_batch(batch, embedder, store, _Unseen(), work.track))
    rows = [*store.rows, *(_failure(sha256, reason) for sha256, reason in failures.items())]
    with replacing(work.folder / name) as partial_file:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), partial_file)
    return name


class _Rows:
    """Keeps computed rows; implements `embed.Store`."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def put(self, recordings: Iterable[tuple[str, Iterable[Rows]]]) -> None:
        for sha256, pieces in recordings:
            for number, piece in enumerate(_chunks(pieces)):
                self.rows.append(
                    {
                        "sha256": sha256, "piece": number, "rows": piece.tobytes(), "width": piece.shape[1],
                        "dtype": piece.dtype.str, "reason": "",
                    }
                )  # fmt: skip


class _Unseen:
    """Progress that nobody sees: the part is what is reported."""

    def begin(self, seconds: float) -> None:
        pass

    def advance(self, seconds: float) -> None:
        pass


def _chunks(pieces: Iterable[Rows]) -> Iterator[Rows]:
    """Yield the pieces joined to chunks of some 65,536 rows: a long recording comes in thousands of pieces."""
    held: list[Rows] = []
    rows = 0
    for piece in pieces:
        held.append(piece)
        rows += len(piece)
        if rows >= CHUNK_ROWS:
            yield np.concatenate(held)
            held, rows = [], 0
    if held:
        yield np.concatenate(held)


def _failure(sha256: str, reason: str) -> dict[str, Any]:
    return {"sha256": sha256, "piece": 0, "rows": None, "width": 0, "dtype": "", "reason": reason}
