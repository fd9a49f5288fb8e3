"""Open each source of the settings and hear it, as `streamer run` will."""

from collections.abc import Iterator
from pathlib import Path

from streamer.commands.checks.finding import Finding
from streamer.commands.checks.listening import LISTEN_S, Heard, judge, listen
from streamer.commands.settings_check import check_source, named_sources
from streamer.errors import StreamerError
from streamer.settings import AudioConfig, Settings, StreamConfig
from streamer.sources.devices import find_device, list_devices
from streamer.sources.muting import MuteStore
from streamer.sources.open import SourceOptions, SourceSpec, open_once, open_source, parse_source

Table = AudioConfig | StreamConfig
BURST_S = 10.0  # a server may send so much at once


def check_sources(settings: Settings) -> Iterator[Finding]:
    """Yield a finding for each source, in their order; all are heard at the same time.

    One that cannot be opened does not keep the others from being heard.
    """
    found: dict[int, Finding] = {}
    opened, muted = {}, MuteStore().names()
    for index, table in enumerate(named_sources(settings)):
        spec = _spec(table)
        if isinstance(spec, StreamerError):
            found[index] = Finding(_title(table), "bad", str(spec))
        elif _can_be_read_once(spec):
            found[index] = Finding(_title(table, spec), "note", _not_heard(spec))
        else:
            source = open_source(spec, _options(settings, table, spec), name=getattr(table, "name", None))
            if spec.kind in ("mic", "network") and source.name in muted:
                found[index] = Finding(_title(table, spec), "note", _muted(source.name))
            else:
                opened[index] = (_title(table, spec), spec, source)
    for (index, (title, spec, _)), heard in zip(
        opened.items(), listen([source for *_, source in opened.values()]), strict=True
    ):
        found[index] = _finding(title, spec, heard)
    yield from (found[index] for index in sorted(found))


def _spec(table: Table) -> SourceSpec | StreamerError:
    """Return what `table` names, with the microphone in place of `auto`; or why it cannot be opened."""
    try:
        check_source(table)
        spec = parse_source(table.source)
        if spec.address is not None:
            open_once(spec.address, table.source_password_file)  # says at once why it cannot be opened
        if spec.kind != "auto":
            return spec
        find_device(None, list_devices())
    except StreamerError as error:
        plays = " Meanwhile `streamer run` plays the bundled demo." if table.source.strip() == "auto" else ""
        return StreamerError(f"{error}{plays}")
    return SourceSpec("mic")


def _title(table: Table, spec: SourceSpec | None = None) -> str:
    name = getattr(table, "name", "")
    kind = spec.kind if spec else "auto" if table.source.partition(":")[0].strip() in ("auto", "mic") else ""
    return f"source {name}" if name else "microphone" if kind in ("auto", "mic") else "source"


def _can_be_read_once(spec: SourceSpec) -> bool:
    return spec.kind == "pipe" or (spec.kind == "recording" and not Path(spec.target).expanduser().is_file())


def _options(settings: Settings, table: Table, spec: SourceSpec) -> SourceOptions:
    recorded = spec.kind in ("recording", "demo")  # read as fast as it goes; a full ring ends it
    return SourceOptions(
        ring_s=LISTEN_S if recorded else LISTEN_S + BURST_S,
        fast=recorded,
        block_ms=settings.audio.block_ms,
        channel=table.channel if isinstance(table.channel, int) else None,
        password_file=table.source_password_file,
    )


def _finding(title: str, spec: SourceSpec, heard: Heard | StreamerError) -> Finding:
    if isinstance(heard, StreamerError):
        return Finding(title, "bad", str(heard))
    return judge(title, heard, live=spec.kind in ("mic", "network"))


def _muted(stream: str) -> str:
    return f"it is left closed. {MuteStore().read(stream).sentence(stream)}"


def _not_heard(spec: SourceSpec) -> str:
    what = "standard input" if spec.kind == "pipe" else f"the pipe {spec.target}"
    return f"{what} can be read once, so it is left to `streamer run`: what comes through it was not looked at."
