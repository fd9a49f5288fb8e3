"""Which emotions have started and not ended yet, kept on disk: a crash must leave nobody waiting for the end.

An automation that began with `emotion_started` goes on until `emotion_ended` comes. Where a monitor died in between,
the next one of that name sends the end, with the reason `restart`.
"""

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from streamer.events import EmotionEnded, EmotionStarted, State, Transition
from streamer.events.fields import Label, Name, Seconds, Share

RESTART = "restart"  # the reason of an end that a later run sends

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Open:
    """An emotion that started, and the newest that is known of it."""

    id: Label
    label: Label
    started: Seconds  # since the epoch
    held: Seconds  # the newest moment at which it was still held
    peak_confidence: Share


_STORED = TypeAdapter(dict[Name, _Open])


class OpenEmotions:
    """The open emotions of one monitor's streams. For one thread.

    The file is written whole at each change, without waiting for the disk: a killed process loses nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: dict[str, _Open] = {}

    def left_open(self, now: float) -> list[EmotionEnded]:
        """Return the ends of the emotions that an earlier run left open. They stay on disk until `ended` is called."""
        try:
            self._open = _STORED.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValidationError) as error:
            logger.warning("Which emotions were left open cannot be read from %s (%s).", self._path, _short(error))
            return []
        return [
            EmotionEnded(stream, o.id, now, o.label, max(0.0, o.held - o.started), o.peak_confidence, RESTART)
            for stream, o in self._open.items()
        ]

    def note(self, event: Transition | State) -> None:
        """Note what was sent, or of a start, what is about to be sent."""
        known = self._open.get(event.stream)
        match event:
            case EmotionStarted():
                self._open[event.stream] = _Open(event.id, event.label, event.time, event.time, event.confidence)
            case EmotionEnded():
                if known is None or known.id != event.id:
                    return
                del self._open[event.stream]
            case State():
                if known is None or known.label != event.label:
                    return
                peak = max(known.peak_confidence, event.confidence or 0.0)
                self._open[event.stream] = _Open(known.id, known.label, known.started, event.time, peak)
        self._write()

    def _write(self) -> None:
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        try:
            if not self._open:
                self._path.unlink(missing_ok=True)
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(_STORED.dump_json(self._open))
            partial.replace(self._path)
        except OSError as error:
            logger.warning("Which emotions are open cannot be written to %s (%s).", self._path, _short(error))


def _short(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is damaged"


def open_emotions_file(folder: Path, prefix: str, node: str) -> Path:
    """Return the file of the monitor that is named so; names that differ have files that differ."""
    return folder / "open" / f"{hashlib.sha256(f'{prefix}/{node}'.encode()).hexdigest()[:16]}.json"
