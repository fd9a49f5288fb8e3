"""Record the events of a running monitor into a folder: the publisher behind `streamer record` and `[record]`."""

import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from streamer.events import EmotionEnded, EmotionStarted, Event, Info, to_json
from streamer.folder_claims import claim
from streamer.publish.publisher import PublisherStats
from streamer.publish.throttle import Throttle
from streamer.sessions.journal_writer import MEGABYTE, JournalWriter
from streamer.settings import RecordConfig

FLUSH_S = 1.0  # between two writes: what a kill may cost
SYNC_S = 8.0  # between two fsyncs: with a write's second, what a power cut may cost stays below ten
MAX_EVENTS = 10_000  # that wait for the disk: half an hour of one stream
LOCK = ".streamer-record.lock"

logger = logging.getLogger(__name__)


class Recorder:
    """Implements `Publisher`: JSON lines in daily files, `info` first, written each second by a thread of its own.

    A full or failing disk is tried again every second. Meanwhile 10,000 events wait; past that windows, states and
    health are given up before transitions are, and counted as shed.

    Args:
        folder: made if it is missing; one recorder at a time.
        table: how much is kept.
        say: receives sentences for the user, from the recorder's thread; each is logged as well.
        wait: lose nothing: `publish` waits for room. For `--fast`.
        wall, monotonic: clocks.

    Raises:
        UsageError: the folder cannot be written, or another monitor records into it.
    """

    def __init__(
        self,
        folder: Path,
        table: RecordConfig,
        say: Callable[[str], None] = lambda _: None,
        *,
        wait: bool = False,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self._lock = _claim(folder)
        self._tell = say
        self._wait = wait
        self._monotonic = monotonic
        self._writer = JournalWriter(folder, table.max_mb * MEGABYTE, self._say, wall)
        self._throttle = Throttle(table.window_every)
        self._changed = threading.Condition()  # guards what follows
        self._events: deque[Event] = deque()
        self._working = 0  # events that the thread is writing
        self._taken = 0  # events passed to the writer
        self._shed = 0
        self._detail = ""
        self._closing = False
        self._synced_at = monotonic()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def publish(self, event: Event) -> None:
        """Queue one event; call from one thread. Waits for room only with `wait`."""
        if not self._throttle.due(event):
            return
        with self._changed:
            if self._wait and len(self._events) >= MAX_EVENTS:
                self._changed.notify_all()
                self._changed.wait_for(lambda: len(self._events) < MAX_EVENTS or self._closing or self._detail)
            if self._closing:
                self._shed += 1
                return
            if len(self._events) >= MAX_EVENTS:
                self._make_room()
            self._events.append(event)
            if len(self._events) == MAX_EVENTS // 2:  # many streams, or --fast: a second is too long
                self._changed.notify_all()

    def stats(self) -> PublisherStats:
        """Return the counters now; `online` while the disk takes what comes."""
        with self._changed:
            backlog = self._writer.backlog
            sent = max(0, self._taken - (0 if self._working else backlog))
            queued = len(self._events) + (self._working or backlog)
            return PublisherStats(not self._detail, str(self.folder), self._detail, sent, queued, self._shed)

    def close(self) -> None:
        """Write what is left, put it on the disk and end. Safe to call twice."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(10.0 if self._wait else 2.0)
        if not self._thread.is_alive():
            self._lock.release()

    def _make_room(self) -> None:
        """Give up what matters least: half of the queue's windows, states and health; else the oldest event."""
        half = [self._events.popleft() for _ in range(MAX_EVENTS // 2)]
        kept = [event for event in half if isinstance(event, EmotionStarted | EmotionEnded | Info)]
        kept = kept[1:] if len(kept) == len(half) else kept
        self._shed += len(half) - len(kept)
        self._events.extendleft(reversed(kept))

    def _run(self) -> None:
        over = False
        while not over:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or len(self._events) >= MAX_EVENTS // 2, FLUSH_S)
                over = self._closing
                blocked = self._writer.backlog > 0
                events = [] if blocked and not over else list(self._events)
                if events:
                    self._events.clear()
                self._working = len(events)
                self._changed.notify_all()
            self._attempt(lambda events=events, over=over: self._work(events, over))  # type: ignore[misc]
            with self._changed:
                self._taken += self._working
                self._working = 0
        try:
            self._writer.close()
        except OSError as error:
            logger.warning("%s could not be closed: %s.", self.folder, error)
        with self._changed:
            self._shed += self._writer.backlog
            self._taken -= self._writer.backlog

    def _work(self, events: list[Event], over: bool) -> None:
        lines: list[bytes] = []
        for event in events:
            try:
                line = to_json(event).encode() + b"\n"
            except (ValueError, TypeError):
                logger.exception("A %s cannot be written; it is left out.", event.type)
                with self._changed:
                    self._shed += 1
                    self._working -= 1
                continue
            if isinstance(event, Info):
                self._writer.add(b"".join(lines))
                lines = []
                self._writer.head(line)
            else:
                lines.append(line)
        self._writer.add(b"".join(lines))
        self._writer.flush()
        now = self._monotonic()
        if over or now - self._synced_at >= SYNC_S:
            self._synced_at = now
            self._writer.sync()
        if not over:
            self._writer.tidy()

    def _attempt(self, act: Callable[[], None]) -> None:
        """Call `act`; where the disk refuses, keep the reason for `stats` and say it once."""
        try:
            act()
        except OSError as error:
            cure = "free space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "make it writable"
            reason = f"{self.folder} cannot be written ({error.strerror or error}): {cure}; events wait until then."
            if reason != self._detail:
                self._say(reason)
            with self._changed:
                self._detail = reason
                self._changed.notify_all()
            return
        if self._detail:
            self._say(f"{self.folder} can be written again; {self._shed:,} events were given up.")
            with self._changed:
                self._detail = ""

    def _say(self, sentence: str) -> None:
        logger.warning("%s", sentence)
        self._tell(sentence)


def _claim(folder: Path) -> FileLock:
    return claim(
        folder,
        LOCK,
        busy=f"Another monitor records into {folder}; give each a folder of its own (record.folder).",
        cure="give record.folder a place of your own",
    )
