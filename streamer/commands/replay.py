"""`streamer replay`: play recorded events again, on the dashboard and over MQTT."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.commands.options import ConfigFile, LogFile, Mqtt, given_tables
from streamer.commands.stderr import notice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.commands.ending import EndWish
    from streamer.sessions.replay import Replay
    from streamer.settings import Settings


def replay(
    files: Annotated[
        list[Path], typer.Argument(help="Files of recorded events, or folders of them.", show_default=False)
    ],
    speed: Annotated[float, typer.Option(min=0.01, max=1e6, help="Times as fast as it was.")] = 1.0,
    config: ConfigFile = None,
    headless: Annotated[bool, typer.Option("--headless", help="Print JSON lines instead of the dashboard.")] = False,
    mqtt: Mqtt = None,
    node: Annotated[
        str | None, typer.Option(help="MQTT node to publish as. Default: the monitor's own with -replay behind it.")
    ] = None,
    stream: Annotated[
        list[str] | None, typer.Option("--stream", help="Only this stream; may be given several times. Default: all.")
    ] = None,
    log_file: LogFile = None,
) -> None:
    """Play recorded events again, as they were.

    On the dashboard, whose clock is the recording's, and over MQTT, under a node of its own so that no automation takes
    them for live ones. Stretches of more than 10 s without events are jumped over.

    \b
    Examples:
      streamer replay ~/sessions/2026-11-30.jsonl --speed 20
      streamer replay ~/sessions --headless --speed 1000 --mqtt off
    """
    from streamer.config import load

    settings = load(config, given_tables(mqtt={"url": mqtt}))
    if not headless and not sys.stdout.isatty():
        notice("There is no terminal, so this prints JSON lines, as --headless does.")
        headless = True
    run_replay(settings, files, speed, node, tuple(stream or ()), headless=headless, log_file=log_file)


def run_replay(
    settings: Settings,
    files: Sequence[Path],
    speed: float,
    node: str | None,
    streams: tuple[str, ...],
    *,
    headless: bool,
    log_file: Path | None,
) -> None:
    """Replay until the end (headless), `q` or Ctrl-C.

    Raises:
        UsageError: a file does not exist, or the broker's settings cannot be used.
        StreamerError: there is no event in the files, or one cannot be read.
    """
    from contextlib import ExitStack

    from streamer.commands.ending import EndWish
    from streamer.commands.hangup import on_hangup
    from streamer.commands.terminal_session import open_log, show
    from streamer.publish.jsonlines import JsonLines
    from streamer.publish.open import open_mqtt
    from streamer.publish.publisher import Publisher
    from streamer.publish.topics import default_node
    from streamer.sessions.journal import JournalReader, journals
    from streamer.sessions.replay import Replay
    from streamer.sessions.session import only_streams

    reader = JournalReader(journals(files))
    own = default_node() if settings.mqtt.node == "auto" else settings.mqtt.node
    table = settings.mqtt.model_copy(update={"node": node or f"{own}-replay"})
    with ExitStack() as stack:
        publishers: list[Publisher] = []
        broker = open_mqtt(table, stack)
        if broker is not None:
            publishers.append(broker)
            notice(f"Events are published on {broker.stats().url} as the node {table.node}.")
        if headless:
            publishers.append(JsonLines(sys.stdout, wait=True))
        played = Replay(only_streams(reader, streams), speed, publishers, timeline_s=settings.dashboard.timeline_s)
        stack.callback(played.stop)
        hung_up = EndWish()
        on_hangup(end=hung_up.set, reload=lambda: notice("A replay has no settings that could be read again."))
        if headless:
            _wait(played, hung_up)
        else:
            show(played, settings, open_log(log_file), start=played.start, leave=(hung_up,))
    if reader.damaged:
        notice(f"{reader.damaged:,} lines could not be read as events and were left out.")
    if played.failure is not None:
        raise played.failure


def _wait(played: Replay, hung_up: EndWish) -> None:
    """Wait for the end, or until `hung_up` is set; Ctrl-C gets through."""
    played.start()
    while not (played.ended.wait(0.2) or hung_up.is_set()):
        pass
