"""`streamer calibrate`: record a person's voice profile, once, for all later runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streamer.commands.options import ConfigFile, ModelCheckpoint, ModelDevice, given_tables
from streamer.commands.stderr import notice
from streamer.errors import StreamerError, UsageError

if TYPE_CHECKING:
    from queue import SimpleQueue

    from rich.progress import Progress, TaskID

    from streamer.emotion.profile import VoiceProfile
    from streamer.feed.snapshot import StreamView
    from streamer.monitor import Monitor
    from streamer.pipeline.profiles import EnrolmentResult
    from streamer.settings import AudioConfig, Settings, StreamConfig
    from streamer.sources.open import SourceSpec

POLL_S = 0.1  # between two updates of the progress line
BAR_CELLS = 24  # what is left of 80 columns beside the text


def calibrate(
    source: Annotated[
        str | None,
        typer.Argument(
            help="mic | mic:NAME-OR-INDEX | a file; with --forget: a stream's name. Default: as `streamer run`.",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=10.0, max=600.0, help="Seconds of speech to collect; silence does not count.")
    ] = 20.0,
    name: Annotated[
        str | None, typer.Option(help="Name of the stream, as `streamer run` calls it. Default: from the source.")
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the stored voice profiles, and record none.")] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Remove the voice profile; with --checkpoint only that checkpoint's.")
    ] = False,
    config: ConfigFile = None,
    device: ModelDevice = None,
    checkpoint: ModelCheckpoint = None,
) -> None:
    """Record a profile of your neutral voice for later runs.

    Later runs compare that stream's speech with the profile. No audio is stored.

    \b
    Examples:
      streamer calibrate mic:Yeti
      streamer calibrate --list
      streamer calibrate --forget yeti
    """
    from streamer.config import load

    if forget:
        run_forget(source or name, checkpoint)
        return
    settings = load(config, given_tables(model={"device": device, "checkpoint": checkpoint}))
    if list_them:
        run_list(settings.model.checkpoint)
        return
    run_calibrate(settings, source, name, seconds)


def run_calibrate(settings: Settings, source: str | None, name: str | None, seconds: float) -> None:
    """Capture until `seconds` of speech were collected, and store the stream's voice profile.

    Args:
        settings: those that `streamer run` would capture with.
        source: a microphone or a file; None: that of the [[stream]] table named `name`, else of `[audio]`.
        name: the stream's name when it runs; None: the one that its source gives it.
        seconds: duration of speech to collect.

    Raises:
        UsageError: there is no such source, or it is not clear which is meant.
        ProfileError: there was too little speech, or the profile cannot be written.
        StreamerError: the source or the model failed.
    """
    from dataclasses import replace
    from queue import SimpleQueue

    from streamer.emotion.checkpoint import load_checkpoint
    from streamer.emotion.profile import NOT_CALIBRATABLE, save_profile
    from streamer.monitor import Monitor

    spec, name, table = _select(settings, source, name)
    if load_checkpoint(settings.model.checkpoint).card.neutral_mean is None:
        raise StreamerError(NOT_CALIBRATABLE)
    results: SimpleQueue[EnrolmentResult] = SimpleQueue()
    monitor = Monitor(settings, on_enrolled=results.put)
    stream = monitor.add(
        spec,
        replace(
            monitor.source_options,
            fast=spec.kind not in ("mic", "network"),
            channel=table.channel if isinstance(table.channel, int) else None,
            password_file=table.source_password_file,
        ),
        name=name,
    )
    if mute := monitor.muted(stream):
        raise StreamerError(mute.sentence(stream))
    monitor.calibrate(stream, seconds)
    notice(
        f"Speak in your everyday, neutral voice, about anything: {seconds:g} s of speech are collected on {stream}, "
        "silence does not count. Ctrl-C gives up; no audio is stored."
    )
    try:
        monitor.start()
        profile = _collect(monitor, stream, results, seconds)
    finally:
        monitor.stop()
    path = save_profile(profile)
    notice(
        f"Done: {profile.voice_s:.1f} s of speech at {profile.level_dbfs:.0f} dBFS. "
        f"`streamer run` uses it for the stream {profile.stream}; it is stored in {path}."
    )


def run_list(checkpoint: str) -> None:
    """Print every stored voice profile, and whether runs with `checkpoint` use it."""
    from rich.table import Table

    from streamer.commands.screen import Screen
    from streamer.emotion.checkpoint import load_checkpoint
    from streamer.emotion.profile import profile_folder, stored_profiles

    console, stored = Screen(), stored_profiles()
    if not stored:
        console.print(f"No voice profile is stored in {profile_folder()}.", soft_wrap=True, highlight=False)
        return
    sha256 = load_checkpoint(checkpoint).sha256
    table = Table(title=f"Voice profiles in {profile_folder()}", title_justify="left")
    for column in ("stream", "checkpoint", "recorded", "speech", "file"):
        table.add_column(column, overflow="fold")
    for one in stored:
        if one.profile is None:
            table.add_row(one.stream, "damaged: remove it with --forget", "", "", one.path.name)
            continue
        mine = one.profile.checkpoint_sha256 == sha256
        which = f"{checkpoint}, in use" if mine else f"{one.profile.checkpoint_sha256[:12]}, another"
        table.add_row(one.stream, which, one.profile.created[:10], f"{one.profile.voice_s:.0f} s", one.path.name)
    console.print(table)


def run_forget(name: str | None, checkpoint: str | None = None) -> None:
    """Remove the voice profiles of the stream `name`; None: of the only one there is.

    Args:
        name: of the stream.
        checkpoint: only the profile of this checkpoint is removed; None: those of all.

    Raises:
        UsageError: there are several to choose from.
        ProfileError: there is no such profile, or it cannot be removed.
    """
    from streamer.emotion.checkpoint import load_checkpoint
    from streamer.emotion.profile import forget_profile, stored_names
    from streamer.names import slugify

    names = stored_names()
    if name is None and len(names) > 1:
        raise UsageError(f"There are voice profiles of {', '.join(names)}; name one, as in --forget {names[0]}.")
    chosen = slugify(name) if name is not None else names[0] if names else "mic"
    forget_profile(chosen, None if checkpoint is None else load_checkpoint(checkpoint).sha256)
    notice(f"The voice profile of {chosen} is removed.")


def _select(
    settings: Settings, source: str | None, name: str | None
) -> tuple[SourceSpec, str | None, AudioConfig | StreamConfig]:
    """Return the source to capture, the stream's name, and the table that describes it."""
    from streamer.sources.open import SourceSpec, check_recording, parse_source

    tables = {table.name: table for table in settings.stream}
    chosen: AudioConfig | StreamConfig = settings.audio
    if source is None and name in tables:
        chosen = tables[name]
    elif source is None and tables and name is None and len(tables) > 1:
        raise UsageError(f"There are several [[stream]] tables; choose one with --name {' | '.join(tables)}.")
    elif source is None and tables and name is None:
        ((name, chosen),) = tables.items()
    spec = parse_source(source or chosen.source)
    if spec.kind == "pipe":
        raise UsageError("A voice profile is recorded from a microphone or a file, not from a pipe; name one of those.")
    if spec.kind == "recording":  # before the model is loaded
        check_recording(spec.target)
    if spec.kind == "auto":  # never the bundled recording instead: it is not the user's voice
        spec = SourceSpec("mic")
    return spec, name, chosen


def _collect(monitor: Monitor, stream: str, results: SimpleQueue[EnrolmentResult], seconds: float) -> VoiceProfile:
    """Return the profile; show progress while speech is collected."""
    from queue import Empty

    from rich.progress import BarColumn, Progress, TextColumn

    from streamer.commands.screen import Screen
    from streamer.emotion.profile import ProfileError

    columns = (TextColumn("{task.description}"), BarColumn(BAR_CELLS), TextColumn("{task.fields[figures]}"))
    with Progress(*columns, console=Screen(stderr=True), transient=True) as progress:
        task = progress.add_task("loading the model", total=seconds, figures="")
        printed: set[str] = set()
        while True:
            for line in sorted(monitor.notices() - printed):  # a microphone that is not there, and its cure
                progress.console.print(f"streamer: {line}", markup=False, highlight=False, soft_wrap=True)
                printed.add(line)
            over = monitor.ended.is_set()  # looked at first: a result is in the queue before that
            try:
                result = results.get(timeout=POLL_S)
            except Empty:
                _show(progress, task, monitor.snapshot().streams[0], seconds)
            else:
                if isinstance(result, ProfileError):
                    raise result
                return result
            if over:
                raise monitor.failure or StreamerError(f"{stream} ended before any speech was collected.")


def _show(progress: Progress, task: TaskID, stream: StreamView, seconds: float) -> None:
    if stream.enrolment is None:
        return
    level = "" if stream.level is None else f"  level {stream.level.rms_dbfs:.0f} dBFS"
    figures = f"{stream.enrolment.voice_s:.1f} of {seconds:g} s of speech{level}"
    progress.update(task, description=stream.status, completed=stream.enrolment.voice_s, figures=figures)
