"""Driving the app without a terminal, independently of how busy the machine is."""

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
NEVER_HZ = 1e-3  # ticks a second: none within a test but the first and those that it asks for
PATIENCE_S = 60.0  # an upper bound only: every wait ends as soon as its condition holds


def calm_app(feed: ScriptedFeed, clock: Callable[[], float] = lambda: 0.0) -> StreamerApp:
    """The app without anything that moves by itself: no animation, and a tick only where a test calls for one."""
    app = StreamerApp(feed, feed.controls, refresh_hz=NEVER_HZ, clock=clock)
    app.animation_level = "none"
    return app


def drive(app: StreamerApp, steps: Steps, size: tuple[int, int] = (80, 24)) -> StreamerApp:
    """Run `app` headless and let `steps` press its keys."""

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            app.tick()
            await settle(pilot)
            await steps(app, pilot)

    asyncio.run(run())
    return app


async def settle(pilot: Pilot[None]) -> None:
    """Wait until every widget has handled its messages and the screen is drawn.

    Textual's own `pilot.pause()` waits until the process uses little CPU, which is also true of one that a busy machine
    does not let run.
    """
    for _ in range(2):  # the second time for what the first drawing asked for, such as a new height
        await pilot.pause(0)
        screen, drawn = pilot.app.screen, asyncio.Event()
        screen.call_after_refresh(drawn.set)
        async with asyncio.timeout(PATIENCE_S):
            while not drawn.is_set() and pilot.app.screen is screen:
                await asyncio.sleep(0.005)


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press one key after the other, and wait after each until its effect is drawn."""
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


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
