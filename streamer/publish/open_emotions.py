"""Which emotions have started and not ended yet, kept on disk: a crash must leave nobody waiting for the end.

An automation that began with `emotion_started` goes on until `emotion_ended` comes. Where a monitor died in between,
the next one of that name sends the end, with the reason `restart`.
"""

import contextlib
import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from streamer.events import EmotionEnded, EmotionStarted, State, Transition
from streamer.events.fields import Label, Name, Seconds, Share

RESTART = "restart"  # the reason of an end that a later run sends
LOST = "lost"  # the reason of an end that another shard of a fleet sends

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Open:
    """An emotion that started, and the newest that is known of it."""

    id: Label
    label: Label
    started: Seconds  # since the epoch
    held: Seconds  # the newest moment at which it was still held
    peak_confidence: Share


_MAX_BYTES = 256 * 1024  # of the file, past which it is written anew
_MAX_MESSAGE = 4_096  # bytes


@dataclass(frozen=True, slots=True)
class _Line:
    """One change: what is open on a stream from then on; None: nothing."""

    stream: Name
    open: _Open | None


_LINE = TypeAdapter(_Line)


class OpenEmotions:
    """The open emotions of one monitor's streams. For one thread.

    Each change is a line at the end of a file, one call that waits for no disk: a killed process loses nothing, and
    a busy disk does not hold up what is sent.

    Args:
        path: of the file; None: it is kept at the broker instead, for a shard's successor may run on another machine.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._open: dict[str, _Open] = {}
        self._fd: int | None = None
        self._bytes = 0

    def left_open(self, now: float) -> list[EmotionEnded]:
        """Return the ends of the emotions that an earlier run left open. They stay on disk until noted as sent."""
        if self._path is None:
            return []
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            logger.warning("Which emotions were left open cannot be read from %s (%s).", self._path, error.strerror)
            return []
        for line in lines:
            try:
                change = _LINE.validate_json(line)
            except ValidationError:  # the last one may be cut
                continue
            self._set(change.stream, change.open)
        return [_end(_Line(stream, known), now, RESTART) for stream, known in self._open.items()]

    def id_of(self, stream: str) -> str:
        """Return the id of the emotion that is open on a stream; empty: none."""
        known = self._open.get(stream)
        return "" if known is None else known.id

    def message(self, stream: str) -> bytes:
        """Return what is open on a stream, for `read_message`; empty: nothing."""
        known = self._open.get(stream)
        return b"" if known is None else _LINE.dump_json(_Line(stream, known))

    def note(self, event: Transition | State) -> None:
        """Note what was sent, or of a start, what is about to be sent."""
        known = self._open.get(event.stream)
        new: _Open | None = None
        match event:
            case EmotionStarted():
                new = _Open(event.id, event.label, event.time, event.time, event.confidence)
            case EmotionEnded():
                if known is None or known.id != event.id:
                    return
            case State():
                if known is None or known.label != event.label:
                    return
                peak = max(known.peak_confidence, event.confidence or 0.0)
                new = _Open(known.id, known.label, known.started, event.time, peak)
        self._set(event.stream, new)
        self._append(_LINE.dump_json(_Line(event.stream, new)) + b"\n")

    def close(self) -> None:
        """Close the file, and remove it where nothing is open. What is noted later is not kept."""
        if self._fd is not None and self._path is not None:
            os.close(self._fd)
            self._fd = None
            if not self._open:
                with contextlib.suppress(OSError):
                    self._path.unlink()

    def _set(self, stream: str, new: _Open | None) -> None:
        if new is None:
            self._open.pop(stream, None)
        else:
            self._open[stream] = new

    def _append(self, line: bytes) -> None:
        if self._path is None:
            return
        try:
            if self._fd is None or self._bytes > _MAX_BYTES:
                self._write_anew(self._path)
            elif os.write(self._fd, line) == len(line):
                self._bytes += len(line)
        except OSError as error:
            self._warn(error)

    def _write_anew(self, path: Path) -> None:
        """Replace the file by one with what is open now, and keep that open to append to."""
        partial = path.with_name(f"{path.name}.{os.getpid()}.part")
        data = b"".join(_LINE.dump_json(_Line(stream, known)) + b"\n" for stream, known in self._open.items())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            partial.replace(path)
            if self._fd is not None:
                os.close(self._fd)
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)
            self._bytes = len(data)
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        logger.warning("Which emotions are open cannot be written to %s (%s).", self._path, error.strerror)


def read_message(payload: bytes, now: float) -> EmotionEnded | None:
    """Return the end of the emotion that a lost shard left open, of which it said `payload`; None: it is none."""
    try:
        line = _LINE.validate_json(payload) if len(payload) <= _MAX_MESSAGE else None
    except ValidationError:
        return None
    return None if line is None or line.open is None else _end(line, now, LOST)


def _end(line: _Line, now: float, reason: str) -> EmotionEnded:
    known = line.open
    assert known is not None, "the caller looked"
    held_s = max(0.0, known.held - known.started)
    return EmotionEnded(line.stream, known.id, now, known.label, held_s, known.peak_confidence, reason)


def open_emotions_file(folder: Path, prefix: str, node: str) -> Path:
    """Return the file of the monitor that is named so; names that differ have files that differ."""
    return folder / "open" / f"{hashlib.sha256(f'{prefix}/{node}'.encode()).hexdigest()[:16]}.jsonl"
