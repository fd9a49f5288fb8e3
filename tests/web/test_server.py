"""The server over HTTP: what it answers, to whom, and what visitors cost."""

import asyncio
import re
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from streamer.errors import StreamerError
from streamer.feed.snapshot import Snapshot
from streamer.publish.listen import Listen
from streamer.web.access import Access
from streamer.web.server import FILES, MAX_VISITORS, PAGE, PageServer
from tests.dashboard.scripted_feed import LABELS, live_feed
from tests.web.pages import TOKEN, CountingFeed, get, served, visit


def test_visitors_get_the_newest_state_and_the_log_when_it_changes() -> None:
    with served() as server:
        seen = asyncio.run(visit(server.url, 3))
    (stream,) = seen.states[-1]["streams"]
    assert (stream["name"], stream["status"], stream["label"]) == ("desk", "live", "angry")
    assert list(stream["probs"]) == list(LABELS)
    assert seen.states[-1]["labels"] == list(LABELS)
    assert len(seen.logs) == 1
    assert seen.logs[0][-1]["text"] == "angry started 0.61"


def test_ten_visitors_read_the_feed_as_often_as_one() -> None:
    feed = CountingFeed()

    async def ten(url: str) -> None:
        await asyncio.gather(*(visit(url, 8) for _ in range(10)))

    with served(feed) as server:
        begun = time.monotonic()
        asyncio.run(ten(server.url))
        took_s = time.monotonic() - begun
        time.sleep(0.5)  # nobody looks any more
        looks = feed.looks
        time.sleep(0.5)
        assert feed.looks == looks
    assert looks <= 8 * (took_s + 0.5) + 3


def test_a_visitor_that_takes_nothing_holds_nobody_up() -> None:
    with served() as server:
        port = int(server.url.rsplit(":", 1)[1].strip("/"))
        with socket.create_connection(("127.0.0.1", port)) as idle:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            idle.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            assert len(asyncio.run(visit(server.url, 6)).states) == 6


def test_there_is_a_bound_to_visitors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.web.server.MAX_VISITORS", 1)
    assert MAX_VISITORS > 20

    async def two(url: str) -> None:
        first = asyncio.create_task(visit(url, 10))
        await asyncio.sleep(0.5)
        with pytest.raises(AssertionError):
            await visit(url, 1)
        await first

    with served() as server:
        asyncio.run(two(server.url))


def test_a_feed_that_fails_for_a_while_ends_no_visit() -> None:
    class Failing:
        looks = 0

        def snapshot(self) -> Snapshot:
            self.looks += 1
            if self.looks == 2:
                raise StreamerError("not now")
            return live_feed().shown

    with served(Failing()) as server:
        assert len(asyncio.run(visit(server.url, 3)).states) == 3


def test_many_streams_are_sent_less_often() -> None:
    feed = CountingFeed()
    (stream,) = feed.shown.streams
    feed.shown = replace(feed.shown, streams=tuple(replace(stream, name=f"s{i}") for i in range(40)))
    with served(feed) as server:
        asyncio.run(visit(server.url, 2))
    assert feed.looks <= 4


@pytest.mark.parametrize("file", FILES)
def test_the_page_is_whole_and_loads_nothing_from_elsewhere(file: str) -> None:
    with served() as server:
        answer = get(server.url, file)
    assert answer.status == 200
    assert answer.text == (PAGE / FILES[file][0]).read_text(encoding="utf-8")
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", answer.text)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_every_file_of_the_page_is_served() -> None:
    assert {name for name, _ in FILES.values()} == {path.name for path in Path(PAGE).iterdir()}


@pytest.mark.parametrize("path", ["nothing", "..%2fserver.py", "page/page.js", "page.html%00"])
def test_there_is_nothing_else_to_fetch(path: str) -> None:
    with served() as server:
        assert get(server.url, path).status == 404


def test_it_takes_no_orders() -> None:
    async def post(url: str) -> int:
        import aiohttp

        async with aiohttp.ClientSession() as session, session.post(url + "events") as answer:
            return answer.status

    with served() as server:
        assert asyncio.run(post(server.url)) == 405


def test_on_loopback_only_names_of_loopback_are_answered() -> None:
    with served() as server:
        for host in ("127.0.0.1", "localhost:1234", "[::1]:80"):
            assert get(server.url, headers={"Host": host}).status == 200
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", ""):
            answer = get(server.url, "past", headers={"Host": host})
            assert answer.status in (400, 403), host
            assert "spans" not in answer.text


@pytest.mark.parametrize("path", ["", "events", "past", "page.js", "nothing"])
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", "ü"])
def test_without_the_token_an_open_page_shows_nothing(path: str, token: str | None) -> None:
    with served(token=TOKEN) as server:
        url = server.url.partition("?")[0]
        answer = get(url, path, params={} if token is None else {"token": token})
    assert answer.status == 403
    assert answer.text.startswith("This page needs its token")


def test_the_token_moves_from_the_address_into_a_cookie_that_no_script_reads() -> None:
    with served(token=TOKEN) as server:
        assert server.url.endswith(f"/?token={TOKEN}")
        moved = get(server.url + "&overlay=1", allow_redirects=False)
        assert (moved.status, moved.headers["Location"]) == (303, "/?overlay=1")
        assert "HttpOnly" in moved.headers["Set-Cookie"]
        assert "SameSite=Lax" in moved.headers["Set-Cookie"]
        assert get(server.url).status == 200  # with the cookie, after the redirection
        url = server.url.partition("?")[0]
        assert get(url, "past", headers={"Authorization": f"Bearer {TOKEN}"}).status == 200
        assert get(url, "past", headers={"Authorization": f"Basic {TOKEN}"}).status == 403


def test_a_port_in_use_is_one_sentence() -> None:
    with served() as server:
        port = int(server.url.rsplit(":", 1)[1].strip("/"))
        with pytest.raises(StreamerError, match=f"cannot be served on 127.0.0.1:{port}"):
            PageServer(live_feed(), Access(Listen("127.0.0.1", port)))


def test_closing_sends_visitors_away_at_once() -> None:
    server = PageServer(live_feed(), Access(Listen("127.0.0.1", 0)))
    server.start()

    async def visit_to_the_end(url: str) -> None:
        following = asyncio.create_task(visit(url, 10_000))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.close)
        await asyncio.wait({following}, timeout=3.0)
        assert following.done()
        following.exception()

    asyncio.run(visit_to_the_end(server.url))
    server.close()
