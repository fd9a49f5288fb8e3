"""Read the table of a fleet's streams, `FLEET.toml` or CSV, and say everything that is wrong with it at once."""

import csv
import io
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from streamer.config_errors import complaints
from streamer.errors import StreamerError, UsageError
from streamer.names import plain_name
from streamer.plain_text import plain
from streamer.sources.open import parse_source
from streamer.toml_errors import read_toml

DEFAULT_GROUP = "default"
MAX_STREAMS = 100_000
MAX_SHOWN = 20  # complaints; a table that was made wrongly has one a row
COLUMNS = ("name", "source", "group", "priority", "source_password_file", "channel")
_NEEDED = COLUMNS[:2]
_ON_ONE_MACHINE = ("auto", "mic", "pipe")  # kinds of sources that no other node can open

Name = Annotated[str, AfterValidator(plain_name)]


def _source(text: SecretStr) -> SecretStr:
    """Refuse what no shard can open; the message holds no credentials."""
    try:
        kind = parse_source(text.get_secret_value()).kind
    except UsageError as error:
        raise ValueError(str(error).rstrip(".")) from None
    if kind in _ON_ONE_MACHINE:
        raise ValueError("a shard may run on any node, and opens URLs, files that every node has, and the demo")
    return text


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StreamRow(_Table):
    """One stream: a [[stream]] table, or a line of CSV. Its `repr` shows no source, which may hold a password."""

    name: Name
    source: Annotated[SecretStr, AfterValidator(_source)]
    group: Name = DEFAULT_GROUP
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0  # the higher, the sooner it is served
    source_password_file: str = ""  # on the node where the stream runs
    channel: Literal["mix"] | Annotated[int, Field(ge=0, le=255)] = "mix"


class GroupConfig(_Table):
    """One [[group]] table: shards on the nodes of one kind."""

    name: Name
    shards: Annotated[int, Field(ge=1, le=10_000)] = 1
    cpus: Annotated[float, Field(ge=0, le=1024)] = 1.0  # of Ray, for each shard
    gpus: Annotated[float, Field(ge=0, le=64)] = 0.0
    streams: Annotated[int, Field(ge=0, le=1000)] = 0  # that a shard can serve; 0: measured


class FleetConfig(_Table):
    """The [fleet] table."""

    name: Name = "fleet"  # of the director, and the beginning of the shards' names
    streams_file: str = ""  # CSV with more streams, beside this file
    fill: Annotated[float, Field(gt=0, le=1)] = 0.8  # of a shard's capacity
    behind_s: Annotated[float, Field(ge=1, le=3600)] = 30.0  # behind for so long, a shard gives streams away


class FleetTable(_Table):
    """All of FLEET.toml, and of its CSV."""

    fleet: FleetConfig = FleetConfig()
    group: tuple[GroupConfig, ...] = ()
    stream: Annotated[tuple[StreamRow, ...], Field(max_length=MAX_STREAMS)] = ()

    @property
    def groups(self) -> dict[str, GroupConfig]:
        """The groups by name; `default` has one shard where no table names it and a stream needs it."""
        named = {group.name: group for group in self.group}
        if any(row.group == DEFAULT_GROUP for row in self.stream) or not named:
            named.setdefault(DEFAULT_GROUP, GroupConfig(name=DEFAULT_GROUP))
        return named


class TableError(UsageError):
    """The table cannot be used; the message has a line for each mistake."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        shown = [f"\n  {problem}" for problem in problems[:MAX_SHOWN]]
        if len(problems) > MAX_SHOWN:
            shown.append(f"\n  and {len(problems) - MAX_SHOWN:,} more")
        many = f"{path}: {len(problems):,} mistakes in the table of streams:{''.join(shown)}"
        super().__init__(problems[0] if len(problems) == 1 else many)
        self.problems = tuple(problems)


def read_table(path: Path) -> FleetTable:
    """Return the fleet that `path` describes, a TOML file or, named `.csv`, its streams alone.

    Raises:
        TableError: something in it is wrong; all mistakes are named.
        UsageError: it cannot be read.
    """
    is_csv = path.suffix.lower() == ".csv"
    tables: dict[str, Any] = {} if is_csv else read_toml(path)
    problems: list[str] = []
    rows = path if is_csv else _streams_file(path, tables)
    streams = [] if rows is None else _read_csv(rows, problems)
    table = _validated(path, tables, problems)
    if table is not None:
        table = table.model_copy(update={"stream": (*table.stream, *streams)})
        problems += _contradictions(path, table)
    if problems or table is None:
        raise TableError(path, problems)
    return table


def files_of(path: Path) -> list[Path]:
    """Return the files that the table at `path` is read from: itself, and its CSV."""
    try:
        rows = None if path.suffix.lower() == ".csv" else _streams_file(path, read_toml(path))
    except UsageError:
        rows = None
    return [path] if rows is None else [path, rows]


def _streams_file(path: Path, tables: Mapping[str, Any]) -> Path | None:
    fleet = tables.get("fleet")
    file = fleet.get("streams_file") if isinstance(fleet, Mapping) else None
    return path.parent / file if isinstance(file, str) and file else None


def readable_by_others(path: Path, table: FleetTable) -> list[Path]:
    """Return the files of the table that other users can read although a source in it holds a password."""
    if not any(_holds_secret(row.source.get_secret_value()) for row in table.stream):
        return []
    return [file for file in files_of(path) if file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)]


def _holds_secret(source: str) -> bool:
    try:
        parts = urlsplit(source)
        return "://" in source and bool(parts.password or parts.query)
    except ValueError:
        return True


def _validated(path: Path, tables: Mapping[str, Any], problems: list[str]) -> FleetTable | None:
    try:
        return FleetTable(**tables)
    except ValidationError as error:
        problems += [c.text for c in complaints(error, [(str(path), tables)], FleetTable)]
        return None


def _contradictions(path: Path, table: FleetTable) -> list[str]:
    """Return what is wrong between rows that are right by themselves."""
    groups = Counter(group.name for group in table.group)
    problems = [
        f"{path}: two [[group]] tables are both named {name!r}; give each a name of its own."
        for name, count in groups.items()
        if count > 1
    ]
    seen: set[str] = set()
    for row in table.stream:
        if row.name in seen:
            problems.append(f"{path}: two streams are both named {row.name!r}; give each a name of its own.")
        seen.add(row.name)
        if row.group != DEFAULT_GROUP and row.group not in groups:
            problems.append(
                f"{path}: stream {row.name!r} is for the group {row.group!r}, and there is no [[group]] of that name; "
                "add one, or leave the group out."
            )
    if len(table.stream) > MAX_STREAMS:
        problems.append(f"{path}: {len(table.stream):,} streams are more than {MAX_STREAMS:,}; make two fleets.")
    return problems


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of CSV, by its number."""

    number: int
    values: Mapping[str, str]


_ROW: TypeAdapter[StreamRow] = TypeAdapter(StreamRow)


def _read_csv(path: Path, problems: list[str]) -> list[StreamRow]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problems.append(f"{path}: the table of streams cannot be read ({error.strerror}); check the path.")
        return []
    except UnicodeDecodeError:
        problems.append(f"{path}: the table of streams is not UTF-8 text; save it as CSV in UTF-8.")
        return []
    rows = []
    for line in _lines(path, text, problems):
        try:
            rows.append(StreamRow.model_validate(line.values))
        except ValidationError as error:
            problems += [_of_line(path, line, detail) for detail in _one_a_key(error)]
    return rows


def _lines(path: Path, text: str, problems: list[str]) -> Iterable[_Line]:
    """Yield the lines that have the columns of the head; the others, and a wrong head, are problems."""
    head_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=head_line.count)  # spreadsheets of some countries write semicolons
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    head = [cell.strip().lower() for cell in next(reader, [])]
    missing = [name for name in _NEEDED if name not in head]
    unknown = [name for name in head if name not in COLUMNS]
    if missing or unknown:
        wrong = [f"lacks {', '.join(missing)}"] if missing else []
        wrong += [f"has {plain(', '.join(unknown), 100)}, which nothing reads"] if unknown else []
        problems.append(f"{path}: the first line {' and '.join(wrong)}; the columns are {', '.join(COLUMNS)}.")
        return
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(head):
            problems.append(f"{path}: line {reader.line_num} has {len(cells)} fields, and the first line {len(head)}.")
            continue
        values = {name: cell.strip() for name, cell in zip(head, cells, strict=True)}
        yield _Line(reader.line_num, {name: value for name, value in values.items() if value})


def _one_a_key(error: ValidationError) -> list[Any]:
    """Return pydantic's first complaint about each key; a union complains once a branch."""
    return list({detail["loc"][0]: detail for detail in reversed(error.errors())}.values())[::-1]


def _of_line(path: Path, line: _Line, detail: Any) -> str:
    key = detail["loc"][0]
    if detail["type"] == "missing":
        return f"{path}: line {line.number}: {key} is missing."
    value = "" if key == "source" else f" = {plain(line.values.get(key, ''), 60)!r}"
    reason = str(detail["msg"]).removeprefix("Value error, ")
    return f"{path}: line {line.number}: {key}{value} is not allowed: {reason[:1].lower()}{reason[1:]}."


class TableFile:
    """The table on disk, read again when a file of it changes.

    Args:
        path: of FLEET.toml or of a CSV file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[object, ...] = ()
        self.problem = ""  # why the newest version is not in force; empty where it is

    def changed(self) -> FleetTable | None:
        """Return the table where it is new and right; None where nothing changed, or `problem` says what is wrong."""
        now = tuple(_mark(file) for file in files_of(self._path))
        if now == self._seen:
            return None
        self._seen = now
        try:
            table = read_table(self._path)
        except StreamerError as error:
            self.problem = str(error)
            return None
        self.problem = ""
        return table


def _mark(file: Path) -> tuple[object, ...]:
    try:
        status = file.stat()
    except OSError:
        return (file,)
    return file, status.st_ino, status.st_size, status.st_mtime_ns
