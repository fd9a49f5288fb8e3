"""`streamer calibrate`: learn a person's neutral voice, once, so that every later run is set against it."""

import sys
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from streamer.audio.open import SourceSpec, parse_source
from streamer.config import AudioConfig, Settings, StreamConfig
from streamer.emotion.profile import (
    NOT_CALIBRATABLE,
    ProfileError,
    VoiceProfile,
    forget_profile,
    save_profile,
    stored_names,
)
from streamer.errors import StreamerError, UsageError
from streamer.feed.snapshot import StreamView
from streamer.monitor import Monitor
from streamer.names import slugify
from streamer.pipeline.profiles import EnrolmentResult

LOOK_S = 0.1  # between two moves of the progress line
BAR_CELLS = 24  # what is left of 80 for the words beside it


def run_calibrate(settings: Settings, source: str | None, name: str | None, seconds: float) -> None:
    """Listen until there were `seconds` of speech, and store the voice profile of the stream.

    Args:
        settings: the stream is heard with, as `streamer run` would.
        source: a microphone or a file; None: that of the [[stream]] table named `name`, else of `[audio]`.
        name: the stream's, as it is called when it runs; None: as its source is called by itself.
        seconds: of speech.

    Raises:
        UsageError: there is no such source, or it is not clear which is meant.
        ProfileError: there was too little speech, or the profile cannot be written.
        StreamerError: the source or the model failed.
    """
    from streamer.emotion.checkpoint import load_checkpoint

    spec, name, table = _wanted(settings, source, name)
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
    monitor.calibrate(stream, seconds)
    _say(
        f"Speak in your everyday, neutral voice, about anything: {seconds:g} s of speech are collected on {stream}, "
        "silence does not count. Ctrl-C gives up; no audio is stored."
    )
    try:
        monitor.start()
        profile = _collect(monitor, stream, results, seconds)
    finally:
        monitor.stop()
    path = save_profile(profile)
    _say(
        f"Done: {profile.voice_s:.1f} s of speech at {profile.level_dbfs:.0f} dBFS. "
        f"`streamer run` uses it for the stream {profile.stream}; it is kept in {path}."
    )


def run_forget(name: str | None) -> None:
    """Remove the voice profile of the stream `name`; None: the only one there is.

    Raises:
        UsageError: there are several to choose from.
        ProfileError: there is no such profile, or it cannot be removed.
    """
    names = stored_names()
    if name is None and len(names) > 1:
        raise UsageError(f"There are voice profiles of {', '.join(names)}; say which one, as in --forget {names[0]}.")
    chosen = slugify(name) if name is not None else names[0] if names else "mic"
    forget_profile(chosen)
    _say(f"The voice profile of {chosen} is removed.")


def _wanted(
    settings: Settings, source: str | None, name: str | None
) -> tuple[SourceSpec, str | None, AudioConfig | StreamConfig]:
    """Return what to capture, what the stream is called, and the table that says how."""
    tables = {table.name: table for table in settings.stream}
    chosen: AudioConfig | StreamConfig = settings.audio
    if source is None and name in tables:
        chosen = tables[name]
    elif source is None and tables and name is None and len(tables) > 1:
        raise UsageError(f"There are several [[stream]] tables; say whose voice with --name {' | '.join(tables)}.")
    elif source is None and tables and name is None:
        ((name, chosen),) = tables.items()
    spec = parse_source(source or chosen.source)
    if spec.kind == "pipe":
        raise UsageError("A voice is learnt from a microphone or a file, not from a pipe: name one of those.")
    if spec.kind == "recording" and not Path(spec.target).is_file():  # said at once, not after the model is loaded
        raise UsageError(f"There is no file {spec.target!r}; name an audio file or mic.")
    if spec.kind == "auto":  # never the bundled recording instead: it is nobody's voice
        spec = SourceSpec("mic")
    return spec, name, chosen


def _collect(monitor: Monitor, stream: str, results: "SimpleQueue[EnrolmentResult]", seconds: float) -> VoiceProfile:
    """Return the profile, after a line that moves while speech is collected."""
    columns = (TextColumn("{task.description}"), BarColumn(BAR_CELLS), TextColumn("{task.fields[figures]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("loading the model", total=seconds, figures="")
        said: set[str] = set()
        while True:
            for notice in sorted(monitor.notices() - said):  # a microphone that is not there, and its cure
                progress.console.print(f"streamer: {notice}", markup=False, highlight=False, soft_wrap=True)
                said.add(notice)
            over = monitor.ended.is_set()  # looked at first: a result is in the queue before that
            try:
                result = results.get(timeout=LOOK_S)
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


def _say(text: str) -> None:
    print(f"streamer: {text}", file=sys.stderr, flush=True)
