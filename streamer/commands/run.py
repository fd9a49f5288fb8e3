"""`streamer run`: classify audio live, show it, publish it."""

from __future__ import annotations

import logging
import shlex
import sys
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from streamer.commands.options import (
    SOURCES,
    ConfigFile,
    LogFile,
    Metrics,
    ModelCheckpoint,
    ModelDevice,
    Mqtt,
    OpenToNetwork,
    Serve,
    given_tables,
    warn_of_visible_password,
)
from streamer.commands.stderr import notice
from streamer.errors import StreamerError, UsageError
from streamer.sources.source import Encoding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack

    from streamer.commands.configured_streams import SourceFlags
    from streamer.commands.ending import EndWish
    from streamer.commands.reload import Reloader
    from streamer.monitor import Monitor
    from streamer.publish.actions import Actions
    from streamer.publish.jsonlines import JsonLines
    from streamer.settings import Settings

logger = logging.getLogger(__name__)

# Of a monitor on standard output: the dashboard, JSON lines, a sentence for each change, nothing.
Output = Literal["screen", "lines", "sentences", "nothing"]


def run(
    source: Annotated[str | None, typer.Argument(help=f"{SOURCES}. Default: auto.", show_default=False)] = None,
    config: ConfigFile = None,
    headless: Annotated[bool, typer.Option("--headless", help="Print JSON lines instead of the dashboard.")] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Print a plain sentence for each change, as for a screen reader.")
    ] = False,
    fast: Annotated[bool, typer.Option("--fast", help="Read files and pipes as fast as the model runs.")] = False,
    mqtt: Mqtt = None,
    metrics: Metrics = None,
    serve: Serve = None,
    open_to_network: OpenToNetwork = None,
    device: ModelDevice = None,
    checkpoint: ModelCheckpoint = None,
    threads: Annotated[
        int | None, typer.Option(help="Number of CPU threads for the model. Default: model.threads, 1.")
    ] = None,
    channel: Annotated[
        str | None, typer.Option(help='"mix" or a channel index from 0. Default: audio.channel, mix.')
    ] = None,
    pcm_format: Annotated[Encoding, typer.Option("--format", help="Raw PCM: sample encoding.")] = "s16le",
    rate: Annotated[int, typer.Option(help="Raw PCM: sample rate in Hz.")] = 24_000,
    channels: Annotated[int, typer.Option(help="Raw PCM: number of channels.")] = 1,
    track: Annotated[int, typer.Option(min=0, help="Audio track of a recording, counted from 0.")] = 0,
    start_time: Annotated[
        str | None,
        typer.Option(
            metavar="ISO-8601", help="When the recording begins; events are timed from there. Default: when they occur."
        ),
    ] = None,
    log_file: LogFile = None,
    more: Annotated[
        list[str] | None, typer.Argument(hidden=True, help="Refused, with the shell line that loops. Default: none.")
    ] = None,
) -> None:
    """Classify emotion in live audio.

    Shows a dashboard in the terminal and publishes events over MQTT. The source `auto` is a microphone if there is one,
    else a bundled demo recording.

    \b
    Examples:
      streamer run mic:Yeti
      streamer run talk.wav --headless --fast
      streamer run --plain
      streamer run interview.mp4 --start-time 2026-11-22T16:30:00+01:00
      arecord -t raw -f S16_LE -r 24000 -c 1 | streamer run -
    """
    from streamer.commands.configured_streams import SourceFlags
    from streamer.config import load
    from streamer.sources.source import PcmFormat

    if source is not None and more:
        refuse_several([source, *more])
    if headless and plain:
        raise UsageError("--headless prints JSON and --plain prints sentences; give one of the two.")
    flags = given_tables(
        audio={"source": source, "channel": channel},
        model={"device": device, "checkpoint": checkpoint, "threads": threads},
        mqtt={"url": mqtt},
        metrics={"listen": metrics},
        web={"listen": serve, "open_to_network": open_to_network},
    )
    warn_of_visible_password(mqtt)
    again = partial(load, config, flags)
    run_monitor(
        again(),
        SourceFlags(
            one_source=source is not None,
            fast=fast,
            pcm=PcmFormat(pcm_format, rate, channels),
            track=track,
            start_time=parse_start_time(start_time),
        ),
        output="lines" if headless else "sentences" if plain else "screen",
        log_file=log_file,
        again=again,
    )


def parse_start_time(text: str | None) -> float | None:
    """Return the moment that `text` states in ISO 8601, in seconds since the epoch; without a zone it is local time.

    Raises:
        UsageError: it states none, or one that no reader of events takes.
    """
    from streamer.events.fields import END_S, FIRST_YEAR, LAST_YEAR

    if text is None:
        return None
    try:
        seconds = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--start-time {text!r} is no moment in ISO 8601; write it like 2026-11-22T16:30:00+01:00."
        ) from error
    if not 0 <= seconds < END_S:
        raise UsageError(f"--start-time {text!r} must be from the years {FIRST_YEAR} to {LAST_YEAR}, in UTC.")
    return seconds


def refuse_several(sources: Sequence[str]) -> NoReturn:
    """Raise UsageError, with the shell line that monitors one recording after the other."""
    from streamer.sources.open import loop_over

    raise UsageError(
        f"{len(sources)} sources were named, and `streamer run` takes one recording at a time; for all of them: "
        f"{loop_over(' '.join(map(shlex.quote, sources)))}"
    )


def run_monitor(
    settings: Settings,
    sources: SourceFlags,
    *,
    output: Output,
    log_file: Path | None,
    again: Callable[[], Settings],
) -> None:
    """Run until the sources are over (headless), `q`, Ctrl-C or SIGTERM.

    Args:
        settings: everything else.
        sources: what the command line says about them.
        output: what standard output gets.
        log_file: file for warnings while the dashboard is shown; None: in the user's log folder.
        again: reads the settings anew, on SIGHUP.

    Raises:
        StreamerError: a source, the broker or the model is missing, or failed at run time.
    """
    from contextlib import ExitStack

    from streamer.commands.configured_streams import ConfiguredStreams
    from streamer.commands.recording import record_events
    from streamer.commands.reload import Reloader
    from streamer.commands.terminal_session import can_draw
    from streamer.monitor import Monitor
    from streamer.publish.actions import Actions

    if output == "screen" and not sys.stdout.isatty():
        notice("There is no terminal, so this prints JSON lines, as --headless does.")
        output = "lines"
    elif output == "screen" and not can_draw():
        notice("This terminal cannot draw (TERM), so this prints a sentence for each change, as --plain does.")
        output = "sentences"
    headless = output != "screen"
    with ExitStack() as stack:
        monitor = Monitor(settings, meters=not headless or settings.web.listen != "off")
        streams = ConfiguredStreams(monitor, sources, headless=headless)
        streams.open(settings)
        say = _sayer(monitor, headless)
        actions = Actions(settings.action, say, wait=sources.fast)
        monitor.publish_to(actions)
        _open_publishers(monitor, settings, actions, stack)
        if settings.record.folder:
            record_events(monitor, settings.record, stack, fast=sources.fast, headless=headless)
        lines = _lines(output, monitor, wait=sources.fast)
        stack.callback(monitor.stop)
        reloader = Reloader(monitor, streams, actions, settings, again, say)
        _until_the_end(monitor, settings, reloader, headless=headless, log_file=log_file)
    if monitor.failure is not None:
        raise monitor.failure
    if lines is not None and lines.failure:
        raise StreamerError(lines.failure)


def _lines(output: Output, monitor: Monitor, *, wait: bool) -> JsonLines | None:
    """Let `monitor` print its events on standard output as `output` says; None where it gets no lines."""
    from streamer.events import to_json
    from streamer.publish.jsonlines import JsonLines
    from streamer.publish.sentences import Sentences

    if output not in ("lines", "sentences"):
        return None
    render = Sentences() if output == "sentences" else to_json
    # The reader's leaving (`| head -1`) ends the run as quietly as a file's end does.
    lines = JsonLines(sys.stdout, wait=wait, on_closed=monitor.ended.set, render=render)
    monitor.publish_to(lines)
    return lines


def _until_the_end(
    monitor: Monitor, settings: Settings, reloader: Reloader, *, headless: bool, log_file: Path | None
) -> None:
    """Start the monitor and wait for the end of the run, in front of the dashboard unless `headless`."""
    from streamer.commands.ending import EndWish
    from streamer.commands.hangup import on_hangup
    from streamer.commands.terminal_session import ScreenFailedError, open_log, show

    wish = EndWish()
    _heed_sigterm(wish)  # before anything starts: by itself it ends the program in the middle of everything
    on_hangup(end=wish.set, reload=reloader.request)
    if headless:
        monitor.start()
        _wait(monitor, wish)
        return
    for line in sorted(monitor.notices()):  # stays above the dashboard, to be read again after it
        notice(line)
    leave = (monitor.failed, wish)
    try:
        if not show(monitor, settings, open_log(log_file), controls=monitor, start=monitor.start, leave=leave):
            logger.warning("The terminal is gone; this goes on without a screen until SIGTERM.")
            _wait(monitor, wish)
    except ScreenFailedError:
        notice("The screen has failed; hearing and publishing go on without it. Ctrl-C ends them.")
        _wait(monitor, wish)
        raise  # so that the exit code is not 0


def _sayer(monitor: Monitor, headless: bool) -> Callable[[str], None]:
    """Return what shows the user a sentence while the monitor runs."""

    def say(text: str) -> None:
        monitor.board.log("note", text)
        if headless:
            notice(text)
        else:
            logger.warning("%s", text)

    return say


def _open_publishers(monitor: Monitor, settings: Settings, actions: Actions, stack: ExitStack) -> None:
    """Open what the settings say that events go to, beside the screen or standard output."""
    from streamer.commands.serve import page_sentence
    from streamer.publish.open import open_metrics, open_mqtt
    from streamer.web.open import open_page

    mqtt = open_mqtt(settings.mqtt, stack, monitor.mute_remotely)
    if mqtt is not None:
        monitor.publish_to(mqtt)
        if settings.mqtt.url == "embedded":
            notice(f"The embedded MQTT broker listens on {mqtt.stats().url}.")
    metrics = open_metrics(settings.metrics, mqtt, actions)
    if metrics is not None:
        stack.callback(metrics.close)
        monitor.publish_to(metrics)
        reach = "" if metrics.is_for_this_machine else " to everyone who reaches this address, without a password"
        notice(f"Metrics for Prometheus are served on {metrics.url}{reach}.")
    page = open_page(settings.web, monitor)
    if page is not None:
        stack.callback(page.close)
        page.start()
        notice(page_sentence(page))


def _heed_sigterm(wish: EndWish) -> None:
    """Take SIGTERM for a wish to end. The dashboard has its own handler, and leaves none behind."""
    import signal

    signal.signal(signal.SIGTERM, lambda *_: wish.set())


def _wait(monitor: Monitor, wish: EndWish) -> None:
    """Wait for the end of a run without a screen.

    SIGTERM and `wish` end it as the end of the sources does; Ctrl-C raises KeyboardInterrupt.
    """
    from streamer.commands.service_manager import ServiceManager

    _heed_sigterm(wish)
    manager = ServiceManager()
    printed: set[str] = set()
    over = False
    while not over:
        over = monitor.ended.wait(0.2) or wish.is_set()
        manager.look(monitor.idle_s, partial(_status_line, monitor))
        for line in sorted(monitor.notices() - printed):
            notice(line)
            printed.add(line)
    manager.stopping()


def _status_line(monitor: Monitor) -> str:
    """Return `desk: live, door: mic lost`."""
    return ", ".join(f"{stream.name}: {stream.status}" for stream in monitor.snapshot().streams)
