"""A page server with a scripted feed, and requests to it."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from streamer.feed.snapshot import Feed, Snapshot
from streamer.publish.listen import Listen
from streamer.web.access import Access
from streamer.web.server import PageServer
from tests.dashboard.scripted_feed import live_feed

TOKEN = "a-token-of-some-length"


@contextmanager
def served(feed: Feed | None = None, token: str = "") -> Iterator[PageServer]:
    """A server on a free port of loopback."""
    server = PageServer(feed or live_feed(), Access(Listen("127.0.0.1", 0), token))
    server.start()
    try:
        yield server
    finally:
        server.close()


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str


def get(url: str, path: str = "", **options: Any) -> Answer:
    """Fetch a page; `options` are those of aiohttp."""

    async def run() -> Answer:
        # The cookies of an address count, as they do in a browser.
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session, session.get(url + path, **options) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.text())

    return asyncio.run(run())


@dataclass
class Visit:
    """What a visitor got."""

    states: list[dict[str, Any]] = field(default_factory=list)
    logs: list[list[dict[str, Any]]] = field(default_factory=list)


async def visit(url: str, states: int) -> Visit:
    """Follow the events until so many states have come."""
    seen = Visit()
    kind = "message"
    async with aiohttp.ClientSession() as session, session.get(url + "events") as answer:
        assert answer.status == 200
        async for raw in answer.content:
            line = raw.decode().strip()
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                value = json.loads(line.removeprefix("data: "))
                (seen.logs if kind == "log" else seen.states).append(value)
            elif not line:
                kind = "message"
                if len(seen.states) >= states:
                    return seen
    return seen


class CountingFeed:
    """A feed that counts how often it is read."""

    def __init__(self) -> None:
        self.looks = 0
        self.shown = live_feed().shown

    def snapshot(self) -> Snapshot:
        self.looks += 1
        return self.shown
