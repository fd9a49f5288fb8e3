"""Driving the app without a terminal."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from textual.pilot import Pilot

from streamer.dashboard.app import StreamerApp
from streamer.dashboard.widgets.canvas import Canvas
from tests.dashboard.scripted_feed import ScriptedFeed

Steps = Callable[[StreamerApp, Pilot[None]], Awaitable[None]]


def calm_app(feed: ScriptedFeed, clock: Callable[[], float] = lambda: 0.0) -> StreamerApp:
    """The app without anything that moves by itself."""
    app = StreamerApp(feed, feed.controls, clock=clock)
    app.animation_level = "none"
    return app


def drive(app: StreamerApp, steps: Steps, size: tuple[int, int] = (80, 24)) -> StreamerApp:
    """Run `app` headless and let `steps` press its keys."""

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            app.tick()
            await pilot.pause()
            await steps(app, pilot)

    asyncio.run(run())
    return app


def text_of(canvas: Canvas) -> str:
    """What a hand-drawn widget shows."""
    return "\n".join(canvas.render_line(y).text for y in range(canvas.content_size.height))


@contextmanager
def utc() -> Iterator[None]:
    """Local time is UTC, so that the log shows the same times everywhere."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()
