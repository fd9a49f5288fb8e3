"""`streamer run`: hear, show, publish."""

import os
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import BinaryIO, NoReturn

from streamer.audio.open import SourceSpec, check_recording, loop_over, open_source, parse_source
from streamer.audio.source import PcmFormat
from streamer.commands.terminal_session import open_log, show
from streamer.config import AudioConfig, Settings, StreamConfig
from streamer.errors import UsageError
from streamer.monitor import Monitor
from streamer.publish.jsonlines import JsonLines
from streamer.publish.open import open_mqtt


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """What the command line says about recordings."""

    track: int = 0  # audio track, counted from 0
    start_time: float | None = None  # of the first sample, seconds since the epoch


def parse_start_time(text: str | None) -> float | None:
    """Return the moment that `text` states in ISO 8601, in seconds since the epoch; without a zone it is local time.

    Raises:
        UsageError: it states none.
    """
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--start-time {text!r} is no moment in ISO 8601; write it like 2026-11-22T16:30:00+01:00."
        ) from error


def refuse_several(sources: Sequence[str]) -> NoReturn:
    """Raise UsageError, with the shell line that monitors one recording after the other."""
    raise UsageError(
        f"{len(sources)} sources were named, and `streamer run` takes one recording at a time; for all of them: "
        f"{loop_over(' '.join(map(shlex.quote, sources)))}"
    )


def run_monitor(
    settings: Settings,
    *,
    one_source: bool,
    headless: bool,
    fast: bool,
    pcm: PcmFormat,
    recording: RecordingOptions,
    log_file: Path | None,
) -> None:
    """Run until the sources are over (headless), `q`, Ctrl-C or SIGTERM.

    Args:
        settings: everything else.
        one_source: a source was named on the command line, so the [[stream]] tables are not heard.
        headless: JSON lines on standard output instead of the dashboard.
        fast: files and pipes as fast as the model goes.
        pcm: what the bytes on standard input mean, where they are no recording.
        recording: which track, and since when.
        log_file: where warnings go while the screen belongs to the dashboard; None: the platform's log folder.

    Raises:
        StreamerError: something that was asked for is not there, or failed on the way.
    """
    if not headless and not sys.stdout.isatty():
        print("streamer: There is no terminal, so this prints JSON lines, as --headless does.", file=sys.stderr)
        headless = True
    with ExitStack() as stack:
        monitor = Monitor(settings)
        _add_sources(
            monitor, settings, one_source=one_source, headless=headless, fast=fast, pcm=pcm, recording=recording
        )
        mqtt = open_mqtt(settings.mqtt, stack)
        if mqtt is not None:
            monitor.publish_to(mqtt)
            if settings.mqtt.url == "embedded":
                _tell(f"The embedded MQTT broker listens on {mqtt.stats().url}.")
        if headless:
            # The reader's leaving (`| head -1`) ends the run as quietly as a file's end does.
            monitor.publish_to(JsonLines(sys.stdout, wait=fast, on_closed=monitor.ended.set))
        stack.callback(monitor.stop)
        if headless:
            _wait(monitor)
        else:
            for notice in sorted(monitor.notices()):  # stays above the dashboard, to be read again after it
                _tell(notice)
            show(monitor, settings, open_log(log_file), controls=monitor, start=monitor.start, failed=monitor.failed)
    if monitor.failure is not None:
        raise monitor.failure


def _add_sources(
    monitor: Monitor,
    settings: Settings,
    *,
    one_source: bool,
    headless: bool,
    fast: bool,
    pcm: PcmFormat,
    recording: RecordingOptions,
) -> None:
    """Add the named source, or those of the [[stream]] tables."""
    wanted: list[tuple[str | None, SourceSpec, AudioConfig | StreamConfig]] = [
        (stream.name, parse_source(stream.source), stream) for stream in settings.stream
    ]
    if one_source or not wanted:
        wanted = [(None, parse_source(settings.audio.source), settings.audio)]
    for name, spec, _ in wanted:
        if spec.kind == "recording":  # said at once, not after the model is loaded
            try:
                check_recording(spec.target)
            except UsageError as error:
                raise UsageError(f"[[stream]] {name}: {error}" if name else str(error)) from error
    for name, spec, table in wanted:
        options = replace(
            monitor.source_options,
            fast=fast,
            loop=not headless,
            pcm=pcm,
            track=recording.track,
            start_time=recording.start_time,
            channel=table.channel if isinstance(table.channel, int) else None,
            password_file=table.source_password_file,
        )
        stdin = _pipe_beside_the_keyboard() if spec.kind == "pipe" and not headless else None
        monitor.add(open_source(spec, options, name=name, stdin=stdin))


def _pipe_beside_the_keyboard() -> BinaryIO:
    """Standard input for the audio, and the terminal in its place, because the dashboard reads its keys there.

    Raises:
        UsageError: standard input is the keyboard itself, or the terminal cannot be had apart from it.
    """
    if sys.stdin.isatty():
        raise UsageError("`-` reads raw PCM from a pipe, and standard input is the keyboard: pipe something in.")
    try:
        keyboard = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        raise UsageError("The dashboard has no keyboard beside the pipe here; use --headless with `-`.") from None
    audio = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    os.dup2(keyboard, sys.stdin.fileno())
    os.close(keyboard)
    return audio


def _wait(monitor: Monitor) -> None:
    """Sit out a headless run. SIGTERM ends it as the end of the sources does; Ctrl-C raises KeyboardInterrupt."""

    def terminated(number: int, frame: FrameType | None) -> None:
        monitor.ended.set()

    signal.signal(signal.SIGTERM, terminated)
    monitor.start()
    said: set[str] = set()
    over = False
    while not over:
        over = monitor.ended.wait(0.2)
        for line in sorted(monitor.notices() - said):
            _tell(line)
            said.add(line)


def _tell(line: str) -> None:
    print(f"streamer: {line}", file=sys.stderr, flush=True)
