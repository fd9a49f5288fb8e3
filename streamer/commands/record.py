"""`streamer record`: run the monitor and keep its events."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from streamer.commands.options import SOURCES, ConfigFile, LogFile, ModelCheckpoint, ModelDevice, Mqtt, given_tables


def record(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of the daily files. Default: record.folder.", show_default=False)
    ] = None,
    source: Annotated[
        str | None, typer.Argument(help=f"{SOURCES}. Default: audio.source, auto.", show_default=False)
    ] = None,
    config: ConfigFile = None,
    headless: Annotated[bool, typer.Option("--headless", help="Show nothing but notices.")] = False,
    fast: Annotated[bool, typer.Option("--fast", help="Read files and pipes as fast as the model runs.")] = False,
    mqtt: Mqtt = None,
    device: ModelDevice = None,
    checkpoint: ModelCheckpoint = None,
    clips: Annotated[
        bool | None,
        typer.Option(
            "--clips/--no-clips",
            help="Keep the AUDIO around each emotion, for `streamer review`. Default: record.clips, off.",
        ),
    ] = None,
    start_time: Annotated[
        str | None,
        typer.Option(metavar="ISO-8601", help="When a recording begins; events are timed from there. Default: now."),
    ] = None,
    log_file: LogFile = None,
) -> None:
    """Run the monitor and keep its events in daily files.

    A file of JSON lines a day: labels, probabilities and levels, no audio. A kill costs at most the last second. Read
    them again with replay, export and report; jq, pandas and DuckDB read them too.

    \b
    Examples:
      streamer record ~/sessions
      streamer record ~/sessions mic:Yeti --headless
    """
    from streamer.commands.configured_streams import SourceFlags
    from streamer.commands.run import parse_start_time, run_monitor
    from streamer.config import load
    from streamer.errors import UsageError

    flags = given_tables(
        audio={"source": source},
        model={"device": device, "checkpoint": checkpoint},
        mqtt={"url": mqtt},
        record={"folder": None if folder is None else str(folder), "clips": clips},
    )
    again = partial(load, config, flags)
    settings = again()
    if not settings.record.folder:
        raise UsageError("There is no folder to record into; name one: streamer record FOLDER, or record.folder.")
    run_monitor(
        settings,
        SourceFlags(one_source=source is not None, fast=fast, start_time=parse_start_time(start_time)),
        output="nothing" if headless or not sys.stdout.isatty() else "screen",
        log_file=log_file,
        again=again,
    )
