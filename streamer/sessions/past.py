"""The recorded past on the timeline: what the folder says of the streams before this run."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

from streamer.errors import StreamerError
from streamer.events import State, Window
from streamer.feed.board import Board
from streamer.feed.snapshot import TimelinePoint
from streamer.sessions.journal import COMPRESSED, JournalReader, daily_files

PAST_S = 86_400.0  # a day: what a timeline can be scrolled back
DENSE_S = 600.0  # of which so much is read window by window; before it, one window in `THINNED` is parsed
THINNED = 8  # some 2 s, the distance of two old points on a timeline
MAX_PLAIN_BYTES = 200 << 20  # a day of one stream has 155 MB
MAX_COMPRESSED_BYTES = 20 << 20

logger = logging.getLogger(__name__)


def recall_past(folder: Path, streams: Collection[str], board: Board, clock: Callable[[], float] = time.time) -> None:
    """Put on the board what `folder` holds of `streams`, of the last day; from a thread of its own.

    It is a convenience: what cannot be read is logged, and the timeline begins with this run.
    """
    now = clock()
    for attempt in range(2):  # the recorder may compress and remove a file in between
        try:
            points = read_past(folder, streams, now)
        except (OSError, StreamerError) as error:
            if attempt:
                logger.info("The timeline begins now: %s", error)
        else:
            for stream, past in points.items():
                board.recall(stream, past)
            return


def read_past(folder: Path, streams: Collection[str], now: float) -> dict[str, list[TimelinePoint]]:
    """Return the points of each of `streams` in the day before `now`, oldest first.

    Raises:
        StreamerError: a file cannot be read, or nothing was recorded yet.
    """
    first_day = time.strftime("%Y-%m-%d", time.localtime(now - PAST_S))
    paths = [path for name, path in daily_files(folder) if name.day >= first_day and _is_light(path)]
    thinning = _Thinning(now - DENSE_S)
    held: dict[str, State] = {}
    points: dict[str, list[TimelinePoint]] = {stream: [] for stream in streams}
    for event in JournalReader(paths, thinning.wants):
        if isinstance(event, State):
            held[event.stream] = event
        elif isinstance(event, Window) and event.stream in points and now - PAST_S <= event.time < now:
            state = held.get(event.stream)
            label, confidence = (state.label, state.confidence) if state else (None, None)
            lost = event.dropped_samples > 0
            points[event.stream].append(TimelinePoint(event.time, label, confidence, lost, event.speech))
    return points


class _Thinning:
    """Leaves out most windows of a long past before they are parsed, but none that says that audio was lost."""

    def __init__(self, dense_since: float) -> None:
        self._dense_since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(dense_since)).encode()
        self._seen: Counter[bytes] = Counter()

    def wants(self, line: bytes) -> bool:
        if b'"type":"window"' not in line[:40] or b'"dropped_samples":0,' not in line:
            return True
        stream = _text_after(line, b'"stream":"', 64)
        self._seen[stream] += 1
        dense = _text_after(line, b'"time":"', len(self._dense_since)) >= self._dense_since
        return dense or self._seen[stream] % THINNED == 0


def _text_after(line: bytes, key: bytes, most: int) -> bytes:
    """Return the JSON string behind `key`, at most so many bytes of it; empty where there is none."""
    _, _, rest = line.partition(key)
    return rest[:most].partition(b'"')[0]


def _is_light(path: Path) -> bool:
    """Return whether the file can be read through in a second or two."""
    most = MAX_COMPRESSED_BYTES if path.name.endswith(COMPRESSED) else MAX_PLAIN_BYTES
    return path.stat().st_size <= most
