"""The streams that the settings name: open them in a monitor, and follow settings that change."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from streamer.errors import StreamerError, UsageError
from streamer.settings import AudioConfig, Settings, StreamConfig

if TYPE_CHECKING:
    from streamer.monitor import Monitor
    from streamer.sources.source import PcmFormat, Source

_Table = AudioConfig | StreamConfig
_AUDIO = ""  # the name under which the [audio] table is kept; no [[stream]] has it


@dataclass(frozen=True, slots=True)
class SourceFlags:
    """What the command line says about sources."""

    one_source: bool = False  # one was named there, so the [[stream]] tables are not opened
    fast: bool = False  # read files and pipes as fast as the model runs
    pcm: PcmFormat | None = None  # of the bytes on standard input, where they are no recording
    track: int = 0  # of a recording, counted from 0
    start_time: float | None = None  # of a recording's first sample, seconds since the epoch


class ConfiguredStreams:
    """The named source, or those of the [[stream]] tables, in a monitor.

    Args:
        monitor: gets them.
        flags: of the command line.
        headless: there is no screen.
    """

    def __init__(self, monitor: Monitor, flags: SourceFlags, *, headless: bool) -> None:
        self._monitor = monitor
        self._flags = flags
        self._headless = headless
        self._open: dict[str, tuple[_Table, str]] = {}  # name of the table → the table, name of its stream

    def open(self, settings: Settings) -> None:
        """Add all to the monitor, before it is started.

        Raises:
            StreamerError: a source cannot be used.
        """
        wanted = self._wanted(settings)
        for name, table in wanted.items():
            _check(name, table)
        for name, table in wanted.items():
            self._open[name] = table, self._monitor.add(self._source(name, table))

    def follow(self, settings: Settings) -> tuple[list[str], list[str]]:
        """Add, exchange and remove streams while the others go on, until they are those of `settings`.

        A stream whose new source cannot be used stays as it is.

        Returns:
            What was changed, and what could not be, a sentence each.
        """
        wanted = self._wanted(settings)
        changed, problems = [], []
        for name, table in wanted.items():
            before = self._open.get(name)
            if before is not None and _source_of(before[0]) == _source_of(table):
                continue
            try:
                stream = self._exchange(name, table)
            except StreamerError as error:
                problems.append(str(error))
            else:
                changed.append(f"stream {stream}")
        for name in [name for name in self._open if name not in wanted]:
            if len(self._open) > 1:  # a monitor without any stream would end
                _, stream = self._open.pop(name)
                self._monitor.remove(stream)
                changed.append(f"stream {stream} (gone)")
        return changed, problems

    def _exchange(self, name: str, table: _Table) -> str:
        """Open the source of `table` in place of what was open for it, or as a new stream; return the stream's name."""
        _check(name, table)
        if table.source.strip() == "-":
            raise UsageError(f"[[stream]] {name}: standard input can be opened at the start only.")
        source = self._source(name, table)
        _, stream = self._open.get(name, (None, None))
        if stream == source.name:
            self._monitor.replace(source)
        else:
            self._monitor.add(source)  # first, because a monitor without any stream would end
            if stream is not None:
                self._monitor.remove(stream)
        self._open[name] = table, source.name
        return source.name

    def _wanted(self, settings: Settings) -> Mapping[str, _Table]:
        if self._flags.one_source or not settings.stream:
            return {_AUDIO: settings.audio}
        return {table.name: table for table in settings.stream}

    def _source(self, name: str, table: _Table) -> Source:
        """Return the source of `table`, opened and not started."""
        from streamer.sources.open import open_source, parse_source

        spec, flags = parse_source(table.source), self._flags
        options = replace(
            self._monitor.source_options,
            fast=flags.fast,
            loop=not self._headless,
            pcm=flags.pcm,
            track=flags.track,
            start_time=flags.start_time,
            channel=table.channel if isinstance(table.channel, int) else None,
            password_file=table.source_password_file,
        )
        stdin = _pipe_apart_from_the_keyboard() if spec.kind == "pipe" and not self._headless else None
        return open_source(spec, options, name=name or None, stdin=stdin)


def _source_of(table: _Table) -> tuple[object, ...]:
    return table.source, table.source_password_file, table.channel


def _check(name: str, table: _Table) -> None:
    """Raise UsageError where the source is none, or is a file that is missing: before the model is loaded."""
    from streamer.sources.open import check_recording, parse_source

    spec = parse_source(table.source)
    if spec.kind == "recording":
        try:
            check_recording(spec.target)
        except UsageError as error:
            raise UsageError(f"[[stream]] {name}: {error}" if name else str(error)) from error


def _pipe_apart_from_the_keyboard() -> BinaryIO:
    """Return standard input for the audio, and put the terminal in its place, where the dashboard reads its keys.

    Raises:
        UsageError: standard input is the keyboard itself, or the terminal cannot be had apart from it.
    """
    if sys.stdin.isatty():
        raise UsageError("`-` reads raw PCM from a pipe, and standard input is the keyboard: pipe something in.")
    try:
        keyboard = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        raise UsageError("The dashboard has no keyboard besides the pipe here; use --headless with `-`.") from None
    audio = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    os.dup2(keyboard, sys.stdin.fileno())
    os.close(keyboard)
    return audio
