"""`streamer export`: turn recorded events into files of other programs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

import typer

from streamer.errors import StreamerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.sessions.journal import JournalReader
    from streamer.sessions.tracks import TrackFormat

Format = Literal["audacity", "vtt", "srt", "textgrid", "eaf", "rttm", "bids", "csv", "parquet"]
Rows = Literal["windows", "emotions"]

ENDINGS: dict[Format, str] = {
    "audacity": "-labels.txt", "vtt": ".vtt", "srt": ".srt", "textgrid": ".TextGrid", "eaf": ".eaf", "rttm": ".rttm",
    "bids": "_events.tsv", "csv": ".csv", "parquet": ".parquet",
}  # fmt: skip
_LIBRARIES = {"textgrid": "praatio", "eaf": "pympi", "parquet": "pyarrow"}


def export(
    files: Annotated[
        list[Path],
        typer.Argument(help="Files of recorded events, or folders of them; one session.", show_default=False),
    ],
    to: Annotated[Format, typer.Option("--to", help="Format to write.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write. Default: named as the first one, in this folder.")
    ] = None,
    stream: Annotated[
        list[str] | None, typer.Option("--stream", help="Only this stream; may be given several times. Default: all.")
    ] = None,
    rows: Annotated[
        Rows, typer.Option("--rows", help="With csv and parquet: a row a window, or an emotion.")
    ] = "windows",
) -> None:
    """Turn recorded events into files of other programs.

    Audacity labels, WebVTT and SRT subtitles, Praat, ELAN, RTTM, BIDS events, CSV, Parquet. Times are seconds in the
    recording, or since the session began where the sound was live.

    \b
    Examples:
      streamer export ~/sessions/2026-11-30.jsonl --to textgrid
      streamer export ~/sessions --to parquet -o all.parquet
    """
    from streamer.sessions.journal import JournalReader, journals

    module = _LIBRARIES.get(to)
    if module is not None and find_spec(module) is None:
        from streamer.extras import install_command

        raise UsageError(f"--to {to} needs {module}, which is not installed; {install_command('sessions')}.")
    paths = journals(files)
    first = paths[0].name.removesuffix(".gz").removesuffix(".jsonl")
    target = out or Path(first + ENDINGS[to])
    if target.resolve() in [path.resolve() for path in paths]:
        raise UsageError(f"{target} is what is to be read; name another file with -o.")
    reader = JournalReader(paths)
    try:
        written = write_export(reader, paths, to, target, tuple(stream or ()), rows)
    except OSError as error:
        raise StreamerError(f"{target} cannot be written ({error.strerror or error}); name another with -o.") from error
    for path in written:
        print(path)
    if reader.damaged:
        from streamer.commands.stderr import notice

        notice(f"{reader.damaged:,} lines could not be read as events and are left out.")


def write_export(
    reader: JournalReader, paths: Sequence[Path], to: Format, target: Path, names: tuple[str, ...], rows: Rows
) -> list[Path]:
    """Write `target`, and what belongs beside it, from the events of `names` (all where it is empty).

    Raises:
        UsageError: none of the streams is in the session.
        OSError: a file cannot be written.
    """
    from streamer.replacing import replacing
    from streamer.sessions.session import only_streams, read_session
    from streamer.sessions.tables import EMOTION_COLUMNS, WindowRows, emotion_rows, survey, window_columns, write_table
    from streamer.sessions.tiers import write_eaf, write_textgrid
    from streamer.sessions.tracks import write_track

    events = only_streams(reader, names)
    if to in ("csv", "parquet"):
        known = survey(paths)
        if rows == "windows":
            windows = WindowRows(known.labels, known.begin).rows(events)
            write_table(target, to, window_columns(known.labels), windows, known.about)
        else:
            write_table(target, to, EMOTION_COLUMNS, emotion_rows(read_session(events)), known.about)
        return [target]
    session = read_session(events)
    if not session.streams:
        raise UsageError(f"No stream named {', '.join(names)} is in there.")
    if to == "textgrid":
        with replacing(target) as part:
            write_textgrid(session, part)
    elif to == "eaf":
        with replacing(target) as part:
            write_eaf(session, part)
    else:
        return write_track(session, cast("TrackFormat", to), target)
    return [target]


assert set(ENDINGS) == set(get_args(Format))
