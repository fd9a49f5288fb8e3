"""`streamer run`: hear, show, publish."""

import os
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from streamer.audio.open import SourceOptions, SourceSpec, open_source, parse_source
from streamer.audio.source import PcmFormat, Source
from streamer.commands.mqtt import mqtt_settings
from streamer.commands.terminal_session import open_log, show
from streamer.config import Settings
from streamer.errors import UsageError
from streamer.monitor import Monitor
from streamer.publish.broker import EmbeddedBroker
from streamer.publish.jsonlines import JsonLines
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.publisher import Publisher


def run_monitor(
    settings: Settings, *, one_source: bool, headless: bool, fast: bool, pcm: PcmFormat, log_file: Path | None
) -> None:
    """Run until the sources are over (headless), `q`, Ctrl-C or SIGTERM.

    Args:
        settings: everything else.
        one_source: a source was named on the command line, so the [[stream]] tables are not heard.
        headless: JSON lines on standard output instead of the dashboard.
        fast: files and pipes as fast as the model goes.
        pcm: what the bytes on standard input mean.
        log_file: where warnings go while the screen belongs to the dashboard; None: the platform's log folder.

    Raises:
        StreamerError: something that was asked for is not there, or failed on the way.
    """
    if not headless and not sys.stdout.isatty():
        print("streamer: There is no terminal, so this prints JSON lines, as --headless does.", file=sys.stderr)
        headless = True
    wake = threading.Event()
    sources = _open_sources(settings, one_source=one_source, headless=headless, fast=fast, pcm=pcm, wake=wake)
    with ExitStack() as stack:
        mqtt = _open_mqtt(settings, stack)
        publishers: list[Publisher] = [mqtt] if mqtt else []
        ended = threading.Event()
        if headless:
            # The reader's leaving (`| head -1`) ends the run as quietly as a file's end does.
            publishers.append(JsonLines(sys.stdout, wait=fast, on_closed=ended.set))
        monitor = Monitor(settings, sources, publishers, mqtt=mqtt, wake=wake, ended=ended)
        stack.callback(monitor.stop)
        if headless:
            _wait(monitor)
        else:
            for notice in sorted(monitor.notices()):  # stays above the dashboard, to be read again after it
                _tell(notice)
            show(monitor, settings, open_log(log_file), controls=monitor, start=monitor.start, failed=monitor.failed)
    if monitor.failure is not None:
        raise monitor.failure


def _open_sources(
    settings: Settings, *, one_source: bool, headless: bool, fast: bool, pcm: PcmFormat, wake: threading.Event
) -> list[Source]:
    """The named source, or those of the [[stream]] tables."""
    wanted: list[tuple[str | None, SourceSpec, int | str]] = [
        (stream.name, parse_source(stream.source), stream.channel) for stream in settings.stream
    ]
    if one_source or not wanted:
        wanted = [(None, parse_source(settings.audio.source), settings.audio.channel)]
    for name, spec, _ in wanted:
        if spec.kind == "recording" and not Path(spec.target).is_file():  # said at once, not after the model is loaded
            where = f"[[stream]] {name}: " if name else ""
            raise UsageError(f"{where}there is no file {spec.target!r}; name an audio file, mic, - or demo.")
    return [
        open_source(
            spec,
            SourceOptions(
                ring_s=settings.audio.ring_s,
                fast=fast,
                loop=not headless,
                pcm=pcm,
                channel=channel if isinstance(channel, int) else None,
                block_ms=settings.audio.block_ms,
            ),
            name=name,
            on_write=wake,
            stdin=_pipe_beside_the_keyboard() if spec.kind == "pipe" and not headless else None,
        )
        for name, spec, channel in wanted
    ]


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


def _open_mqtt(settings: Settings, stack: ExitStack) -> MqttPublisher | None:
    """The publisher, and the embedded broker before it where that is wanted; `stack` stops what was started."""
    if settings.mqtt.url == "off":
        return None
    url = settings.mqtt.url
    if url == "embedded":
        broker = EmbeddedBroker()
        url = broker.start()
        stack.callback(broker.stop)
        _tell(f"The embedded MQTT broker listens on {url}.")
    return MqttPublisher(mqtt_settings(settings.mqtt, url))


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
