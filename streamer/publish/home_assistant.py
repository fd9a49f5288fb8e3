"""Keep Home Assistant told which streams there are, and nothing of those that are gone."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from streamer.events import Info
from streamer.publish.discovery import discovery_message, discovery_topic
from streamer.publish.topics import Topics

logger = logging.getLogger(__name__)


class HomeAssistant:
    """Announces the streams of one monitor at one broker. For one thread.

    On disk it keeps which topics it announced on: they are cleared when the stream does not come back, or when
    discovery was turned off in between.

    Args:
        prefix: Home Assistant's discovery prefix; None: nothing is announced, and what was is cleared.
        file: holds the topics.
    """

    def __init__(self, prefix: str | None, file: Path) -> None:
        self.prefix = prefix
        self._file = file
        self._announced = _read(file)

    def messages(self, topics: Topics, info: Info) -> dict[str, str]:
        """Return what should stand on which topics, retained; an empty text clears a topic."""
        streams = info.streams if self.prefix is not None else ()
        wanted = {
            discovery_topic(self.prefix or "", topics, stream, info): discovery_message(topics, stream, info)
            for stream in streams
        }
        gone = dict.fromkeys(sorted(self._announced - wanted.keys()), "")
        self._remember(self._announced | wanted.keys())
        return wanted | gone

    def cleared(self, topic: str) -> None:
        """Forget a topic: the broker took its empty message."""
        self._remember(self._announced - {topic})

    def _remember(self, topics: Iterable[str]) -> None:
        new = frozenset(topics)
        if new == self._announced:
            return
        self._announced = new
        partial = self._file.with_name(f"{self._file.name}.{os.getpid()}.part")
        try:
            if not new:
                self._file.unlink(missing_ok=True)
                return
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(sorted(new)), encoding="utf-8")
            partial.replace(self._file)
        except OSError as error:
            logger.warning(
                "What was announced to Home Assistant cannot be kept in %s (%s).", self._file, error.strerror
            )


def _read(file: Path) -> frozenset[str]:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # most often there is none
        return frozenset()
    texts = stored if isinstance(stored, list) else []
    return frozenset(text for text in texts if isinstance(text, str) and text.endswith("/config"))


def announced_file(folder: Path, broker: str, topics: Topics) -> Path:
    """Return the file of the monitor that is named so at the broker of that URL."""
    name = hashlib.sha256(f"{broker} {topics.prefix}/{topics.node}".encode()).hexdigest()[:16]
    return folder / "announced" / f"{name}.json"
