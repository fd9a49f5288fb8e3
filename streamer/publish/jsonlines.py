"""Write events as lines of JSON, for standard output."""

import contextlib
import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO

from streamer.events import Event, to_json
from streamer.publish.publisher import PublisherStats
from streamer.publish.throttle import Throttle

MAX_LINES = 1_000  # four minutes of one stream at four windows a second
_CLOSE_S = 1.0

logger = logging.getLogger(__name__)


class JsonLines:
    """Implements `Publisher`: writes one line per event, at once, in a thread of its own.

    `render` may make other lines than JSON; an event that it makes nothing of is left out.

    Live (`wait=False`), the oldest lines are shed and counted where the reader does not keep up. With `wait=True` (for
    `--fast`) nothing is shed: `publish` and `close` wait for the reader. When the reader has closed its end,
    `on_closed` is called once, from that thread, and everything later is dropped without waiting. The same where the
    output cannot be written (a full disk), which `failure` says then.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        wait: bool = False,
        on_closed: Callable[[], None] = lambda: None,
        throttle: Throttle | None = None,
        max_lines: int = MAX_LINES,
        render: Callable[[Event], str] = to_json,
    ) -> None:
        self._write = _writer(stream)
        self._wait = wait
        self._on_closed = on_closed
        self._throttle = throttle or Throttle()
        self._max_lines = max_lines
        self._render = render
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._writing = 0  # lines that the thread is writing
        self._closing = False
        self._detail = ""
        self._failed = False
        self._sent = 0
        self._shed = 0
        self._thread = threading.Thread(target=self._run, name="jsonlines", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def publish(self, event: Event) -> None:
        """Queue one event; call from one thread, after `start`. Waits for room only with `wait`."""
        if not self._throttle.due(event):
            return
        try:
            text = self._render(event)
        except (ValueError, TypeError):
            logger.exception("A %s cannot be written; it is left out.", event.type)
            with self._changed:
                self._shed += 1
            return
        if not text:
            return
        line = text.encode() + b"\n"
        with self._changed:
            if self._wait:
                self._changed.wait_for(lambda: len(self._lines) < self._max_lines or self._ended())
            if self._ended():
                self._shed += 1
                return
            if len(self._lines) >= self._max_lines:
                self._lines.popleft()
                self._shed += 1
            self._lines.append(line)
            self._changed.notify_all()

    @property
    def failure(self) -> str:
        """Why the output could not be written, and what is lost, in one sentence; empty where its reader just left."""
        with self._changed:
            if self._failed:
                return f"{self._detail[:-1]}; {self._shed:,} events were lost. Free space, or write them elsewhere."
            if self._shed and not self._detail:
                return f"{self._shed:,} events were lost, because the reader of the output did not keep up."
            return ""

    def stats(self) -> PublisherStats:
        """Return the counters now; `online` until the reader has closed its end."""
        with self._changed:
            queued = len(self._lines) + self._writing
            return PublisherStats(not self._detail, "stdout", self._detail, self._sent, queued, self._shed)

    def close(self) -> None:
        """Write what is left and end the thread: within a second, or with `wait` however long it takes."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(None if self._wait else _CLOSE_S)
        with self._changed:
            self._shed += len(self._lines)
            self._lines.clear()

    def _ended(self) -> bool:
        return self._closing or bool(self._detail)

    def _run(self) -> None:
        while (line := self._next()) is not None:
            try:
                self._write(line)
            except (OSError, ValueError) as error:  # ValueError: the stream was closed by another part
                self._fail(error)
                return
            with self._changed:
                self._writing = 0
                self._sent += 1

    def _next(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._closing)
            if not self._lines:
                return None
            self._writing = 1
            line = self._lines.popleft()
            self._changed.notify_all()
            return line

    def _fail(self, error: Exception) -> None:
        with self._changed:
            if isinstance(error, BrokenPipeError):
                self._detail = "The reader of the output has closed it."
            else:
                self._failed = True
                self._detail = f"The output cannot be written ({getattr(error, 'strerror', None) or error})."
            self._shed += len(self._lines) + self._writing
            self._lines.clear()
            self._writing = 0
            self._changed.notify_all()
        logger.info("%s", self._detail)
        self._on_closed()


def _writer(stream: TextIO) -> Callable[[bytes], None]:
    """Return a function that writes to `stream`, through its file descriptor where it has one.

    Python's own buffer must stay empty: its lock, held by a thread that a full pipe blocks, would abort the interpreter
    on its way out, and what is left in it after a broken pipe would be reported there.
    """
    try:
        stream.flush()
        descriptor = stream.fileno()
    except (OSError, ValueError):  # io.UnsupportedOperation is both

        def write_text(line: bytes) -> None:
            stream.write(line.decode())
            stream.flush()

        return write_text

    def write_all(line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:  # another program made the pipe non-blocking
                with contextlib.suppress(InterruptedError):
                    select.select([], [descriptor], [])

    return write_all
