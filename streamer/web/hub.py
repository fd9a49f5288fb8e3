"""One task that makes the newest state into bytes, for all visitors together, and only while there are some."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from streamer.feed.snapshot import Feed, Snapshot
from streamer.web.payload import log_json, state_json

HZ = 8.0
STREAMS_AT_FULL_RATE = 8  # more of them are sent less often

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Frame:
    """What every visitor is to know."""

    number: int
    state: bytes
    log: bytes
    log_number: int


class Hub:
    """Reads the feed, and wakes the visitors. Belongs to one event loop."""

    def __init__(self, feed: Feed, run: str) -> None:
        self._feed = feed
        self._run = run
        self._visitors = 0
        self._frame = _Frame(0, b"", b"", 0)
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def visitors(self) -> int:
        """How many look now."""
        return self._visitors

    async def visit(self) -> AsyncIterator[bytes]:
        """Yield server-sent events until the hub is closed; a visitor that is slow misses some states."""
        self._visitors += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._tick())
        try:
            seen, seen_log = 0, -1
            yield b"retry: 1000\n\n"
            while True:
                async with self._changed:
                    while self._frame.number <= seen and not self._closing:
                        await self._changed.wait()
                    frame = self._frame
                if self._closing:
                    return
                seen = frame.number
                message = b"data: " + frame.state + b"\n\n"
                if frame.log_number != seen_log:
                    seen_log = frame.log_number
                    message += b"event: log\ndata: " + frame.log + b"\n\n"
                yield message
        finally:
            self._visitors -= 1

    async def close(self) -> None:
        """Let every visitor go."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
        async with self._changed:
            self._changed.notify_all()

    async def _tick(self) -> None:
        """Make frames while somebody looks."""
        while self._visitors:
            pause_s = 1.0
            try:
                snapshot = self._feed.snapshot()
                pause_s = max(1.0, len(snapshot.streams) / STREAMS_AT_FULL_RATE) / HZ
                await self._publish(snapshot)
            except Exception:  # of any kind: the next state may be fine, and the page says that none arrives
                logger.exception("The page's feed failed")
            await asyncio.sleep(pause_s)

    async def _publish(self, snapshot: Snapshot) -> None:
        log_number = snapshot.log[-1].number if snapshot.log else 0
        before = self._frame
        log = before.log if log_number == before.log_number and before.number else log_json(snapshot)
        async with self._changed:
            self._frame = _Frame(before.number + 1, state_json(snapshot, self._run), log, log_number)
            self._changed.notify_all()
