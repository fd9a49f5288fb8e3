"""`streamer label`: label recordings with emotions, a folder at a time."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from streamer.commands.on_ray import OBJECT_STORE_MB, OnRay, RayAddress, RayChoice, chosen_ray
from streamer.commands.options import ConfigFile, ModelCheckpoint, ModelDevice, given_tables
from streamer.errors import StreamerError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from streamer.sessions.label_folder import Outcome, Recording, Runner


def label(
    paths: Annotated[list[Path], typer.Argument(help="Recordings, or folders of them.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.", show_default=False)],
    table: Annotated[Literal["csv", "parquet"], typer.Option("--format", help="Format of the tables.")] = "csv",
    jobs: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes. Default: one a core, as far as there is memory.")
    ] = None,
    config: ConfigFile = None,
    device: ModelDevice = None,
    checkpoint: ModelCheckpoint = None,
    channel: Annotated[
        str | None, typer.Option(help='"mix" or a channel index from 0. Default: audio.channel, mix.')
    ] = None,
    track: Annotated[int, typer.Option(min=0, help="Audio track of a recording, counted from 0.")] = 0,
    on_ray: OnRay = False,
    address: RayAddress = None,
) -> None:
    """Label recordings: a row a window, a row an emotion.

    Writes windows/, emotions and summary as tables, and events/, which replay, export and report read. An interrupted
    run goes on where it stopped.

    \b
    Examples:
      streamer label interviews -o labels
      streamer label interviews more.mp4 -o labels --format parquet --jobs 4
      streamer label /shared/calls -o /shared/labels --ray --address auto
    """
    from streamer.analysis.discover import find_recordings
    from streamer.commands.progress_bars import RecordingsProgress
    from streamer.commands.screen import Screen
    from streamer.config import load
    from streamer.sessions.label_folder import LabelOptions, Recording, default_jobs, label_recordings, unique_names
    from streamer.sessions.label_tables import write_tables
    from streamer.sessions.tables import require_parquet

    flags = given_tables(audio={"channel": channel}, model={"device": device, "checkpoint": checkpoint})
    settings, choice = load(config, flags), chosen_ray(on_ray, address)
    if choice is not None and jobs is not None:
        raise UsageError(
            "--jobs counts processes of this machine, and --ray uses the whole cluster; give one of the two."
        )
    if table == "parquet":
        require_parquet()
    recordings = unique_names([Recording(found.path, found.name) for found in find_recordings(paths)])
    screen = Screen(stderr=True)
    mono = settings.audio.channel if isinstance(settings.audio.channel, int) else None
    options = LabelOptions(table, jobs or default_jobs(settings), mono, track)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            runner = _runner(choice, stack)
            progress = stack.enter_context(RecordingsProgress(screen, len(recordings)))
            outcome = label_recordings(recordings, out, settings, options, progress, runner)
        tables = write_tables(out, table, recordings, outcome)
    except KeyboardInterrupt:
        screen.print("Interrupted. What was labelled is kept: the same command goes on from here.")
        raise
    except OSError as error:
        raise UsageError(f"{out} cannot be written ({error.strerror or error}); give -o another place.") from error
    _print_result(recordings, outcome, screen)
    for path in tables:
        print(path)
    unread = len(outcome.failures) + sum(bool(labelled.problem) for labelled in outcome.labelled.values())
    if unread:
        raise StreamerError(
            f"{unread} of {len(recordings)} recordings could not be read, or not whole; all that could be read is "
            "labelled, and the reasons are above, by recording."
        )


def _runner(choice: RayChoice | None, stack: ExitStack) -> Runner | None:
    """Return what labels on the machines of a cluster; None: processes of this machine do."""
    if choice is None:
        return None
    from streamer.fleet.cluster import connected
    from streamer.sessions.label_on_ray import label_on_ray

    stack.enter_context(connected(choice.address, object_store_mb=OBJECT_STORE_MB))
    return label_on_ray


def _print_result(recordings: list[Recording], outcome: Outcome, screen: Console) -> None:
    """Print what could not be read whole, and what was done; failures were printed as they came."""
    problems = {name: labelled.problem for name, labelled in outcome.labelled.items() if labelled.problem}
    for name, reason in problems.items():
        screen.print(f"{name}: {reason}", highlight=False, markup=False, soft_wrap=True)
    hours = sum(labelled.audio_s for labelled in outcome.labelled.values()) / 3600
    done = f"{len(outcome.labelled):,} of {len(recordings):,} recordings, {hours:,.2f} h of audio"
    screen.print(f"{done}; {outcome.reused:,} were labelled before.", highlight=False, markup=False)
