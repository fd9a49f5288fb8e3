"""Tables in CSV or Parquet: a row a window, and a row an emotion."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from streamer.errors import StreamerError
from streamer.events import Event, Info, State, Window, iso_time
from streamer.extras import install_command
from streamer.replacing import replacing
from streamer.sessions.journal import JournalReader
from streamer.sessions.session import Session
from streamer.spreadsheet import csv_cell

TableFormat = Literal["csv", "parquet"]
Kind = Literal["text", "number", "integer", "flag", "moment"]
Row = list[Any]  # a value for each column; a moment is seconds since the epoch; None: there is none

BATCH_ROWS = 50_000  # of a Parquet row group

_WINDOW: tuple[tuple[str, Kind], ...] = (
    ("stream", "text"), ("time", "moment"), ("session_s", "number"), ("start_s", "number"), ("end_s", "number"),
    ("seq", "integer"), ("label", "text"), ("confidence", "number"), ("held", "text"), ("speech", "number"),
    ("rms_dbfs", "number"), ("peak_dbfs", "number"), ("latency_ms", "number"), ("dropped_samples", "integer"),
    ("warming", "flag"),
)  # fmt: skip
EMOTION_COLUMNS: tuple[tuple[str, Kind], ...] = (
    ("stream", "text"), ("label", "text"), ("start", "moment"), ("end", "moment"), ("start_s", "number"),
    ("end_s", "number"), ("duration_s", "number"), ("confidence", "number"), ("peak_confidence", "number"),
    ("id", "text"), ("closed", "flag"),
)  # fmt: skip


def write_table(
    path: Path, kind: TableFormat, columns: Sequence[tuple[str, Kind]], rows: Iterable[Row], about: Mapping[str, str]
) -> int:
    """Write the rows, as they come, and return their number.

    Args:
        path: is replaced when all is written.
        kind: of the file.
        columns: their names and kinds.
        rows: as long as `columns`.
        about: facts for the file's metadata, in Parquet.

    Raises:
        StreamerError: Parquet needs pyarrow, which is not installed.
        OSError: the file cannot be written.
    """
    with replacing(path) as part:
        return _WRITERS[kind](part, columns, rows, about)


def window_columns(labels: Sequence[str]) -> tuple[tuple[str, Kind], ...]:
    """Return the columns of a table of windows: what a window says, the emotion held, and a probability a label."""
    return (*_WINDOW, *((f"prob_{label}", "number") for label in labels))


@dataclass(frozen=True, slots=True)
class Survey:
    """What must be known before the first row is written."""

    infos: tuple[Info, ...]
    begin: float  # of the session, seconds since the epoch

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all models that ran."""
        return tuple(dict.fromkeys(label for info in self.infos for label in info.labels))

    @property
    def about(self) -> dict[str, str]:
        """What made the events, for a file's metadata."""
        names = ("version", "model", "model_sha256", "window_s", "hop_s")
        return {name: ", ".join(dict.fromkeys(str(getattr(info, name)) for info in self.infos)) for name in names}


def survey(paths: Sequence[Path]) -> Survey:
    """Look through journals for models, labels and the session's begin, without parsing every window.

    Raises:
        StreamerError: there is no event in them.
    """
    seen: set[bytes] = set()

    def wanted(line: bytes) -> bool:
        if b'"type":"window"' not in line[:40]:
            return b'"type":"info"' in line[:40]
        stream = line[:200].partition(b'"stream":"')[2].partition(b'"')[0]
        new = stream not in seen
        seen.add(stream)
        return new

    infos: dict[Info, None] = {}
    begins = []
    for event in JournalReader(paths, wanted):
        if isinstance(event, Info):
            infos.setdefault(event)
        elif isinstance(event, Window):
            begins.append(event.time - event.end_s)
    return Survey(tuple(infos), min(begins, default=0.0))


@dataclass(slots=True)
class WindowRows:
    """Makes rows of windows as events come; remembers the emotion that each stream holds."""

    labels: Sequence[str]
    begin: float  # of the session, for windows of live sound
    _held: dict[str, str | None] = field(default_factory=dict)
    _newest: dict[str, Window] = field(default_factory=dict)
    _offset_s: dict[str, float] = field(default_factory=dict)  # audio of a stream's earlier runs

    def rows(self, events: Iterable[Event]) -> Iterator[Row]:
        """Yield a row for each window."""
        for event in events:
            if isinstance(event, State):
                self._held[event.stream] = event.label
            elif isinstance(event, Window):
                yield self._row(event)

    def _row(self, window: Window) -> Row:
        before = self._newest.get(window.stream)
        if before is not None and (window.seq <= before.seq or window.end_s < before.end_s):  # another run
            self._offset_s[window.stream] = self._offset_s.get(window.stream, 0.0) + before.end_s
            self._held.pop(window.stream, None)
        self._newest[window.stream] = window
        audio_s = self._offset_s.get(window.stream, 0.0) + window.end_s
        session_s = audio_s if window.latency_ms is None else window.time - self.begin
        probs = window.probs or {}
        return [
            window.stream, window.time, round(session_s, 3), window.start_s, window.end_s, window.seq, window.label,
            window.confidence, self._held.get(window.stream), window.speech, window.rms_dbfs, window.peak_dbfs,
            window.latency_ms, window.dropped_samples, window.warming, *(probs.get(label) for label in self.labels),
        ]  # fmt: skip


def emotion_rows(session: Session) -> Iterator[Row]:
    """Yield a row for each emotion of each stream."""
    for stream in session.streams:
        for i in stream.intervals:
            start_s, end_s = (round(value, 3) for value in stream.seconds(i, session.begin))
            yield [
                stream.name, i.label, i.start, i.end, start_s, end_s, round(end_s - start_s, 3), i.confidence,
                i.peak_confidence, i.id, i.closed,
            ]  # fmt: skip


def _write_csv(path: Path, columns: Sequence[tuple[str, Kind]], rows: Iterable[Row], about: Mapping[str, str]) -> int:
    number = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(csv_cell(name) for name, _ in columns)
        for row in rows:
            writer.writerow(_csv_value(value, kind) for value, (_, kind) in zip(row, columns, strict=True))
            number += 1
    return number


def _csv_value(value: Any, kind: Kind) -> Any:
    if value is None:
        return ""
    if kind == "moment":
        return iso_time(value)
    if kind == "flag":
        return "true" if value else "false"
    return csv_cell(value) if kind == "text" else value


def _write_parquet(
    path: Path, columns: Sequence[tuple[str, Kind]], rows: Iterable[Row], about: Mapping[str, str]
) -> int:
    require_parquet()
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "text": pa.string(), "number": pa.float64(), "integer": pa.int64(), "flag": pa.bool_(),
        "moment": pa.timestamp("ms", tz="UTC"),
    }  # fmt: skip
    schema = pa.schema([(name, types[kind]) for name, kind in columns], metadata=dict(about))
    number = 0
    source = iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(islice(source, BATCH_ROWS)):
            arrays = []
            for values, (_, kind) in zip(zip(*batch, strict=True), columns, strict=True):
                if kind == "moment":
                    values = tuple(None if value is None else round(value * 1000) for value in values)
                arrays.append(pa.array(values, types[kind]))
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            number += len(batch)
    return number


def require_parquet() -> None:
    """Raise StreamerError, with the cure, where pyarrow is missing."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise StreamerError(
            f"Parquet files need pyarrow, which is not installed; {install_command('sessions')}, or take csv."
        ) from error


_WRITERS: dict[TableFormat, Callable[..., int]] = {"csv": _write_csv, "parquet": _write_parquet}
