from dataclasses import replace

import pytest
from textual.pilot import Pilot

from streamer.dashboard.app import StreamerApp
from streamer.dashboard.widgets.log import KEPT_LINES, EventLog, log_rows
from streamer.feed.snapshot import LogLine
from tests.dashboard.lines import text
from tests.dashboard.piloting import calm_app, drive, press, settle
from tests.dashboard.scripted_feed import live_feed


def line(number: int, text: str = "happy started 0.71") -> LogLine:
    return LogLine(number, 0.0, "emotion", "desk", text)


def test_the_log_appends_only_new_numbers_and_stays_bounded() -> None:
    feed = live_feed()
    feed.shown = replace(feed.shown, log=(line(0), line(1)))

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        log = app.screen.query_one(EventLog)
        for newest in (2, 500, 1000, 1200):
            feed.shown = replace(feed.shown, log=tuple(line(i) for i in range(max(0, newest - 600), newest + 1)))
            app.tick()
        numbers = [kept.number for kept in log.lines]
        assert numbers == list(range(1201 - KEPT_LINES, 1201))
        await settle(pilot)
        assert log.is_vertical_scroll_end

    drive(calm_app(feed), steps)


def test_the_log_begins_again_with_another_monitor() -> None:
    feed = live_feed()
    feed.shown = replace(feed.shown, log=tuple(line(i) for i in range(50)))

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        feed.shown = replace(feed.shown, log=(line(0, "a new run"),))
        app.tick()
        assert [kept.text for kept in app.screen.query_one(EventLog).lines] == ["a new run"]

    drive(calm_app(feed), steps)


CURE = "no signal: The input gives only zeros; allow this terminal the microphone under System Settings, Privacy."


@pytest.mark.parametrize("width", [30, 56, 116, 200])
def test_a_long_sentence_is_wrapped_so_that_its_cure_can_be_read(width: int) -> None:
    rows = [text(row) for row in log_rows(LogLine(0, 0.0, "device", "desk", CURE, 7), True, width)]
    assert all(len(row) <= width for row in rows)
    words = " ".join(" ".join(rows).split())
    assert words.endswith(f"◆ desk {CURE} ×7")


@pytest.mark.parametrize("key", ["question_mark", "d", "ctrl+p", "s"])
def test_the_log_follows_again_after_a_dialog(key: str) -> None:
    feed = live_feed()
    feed.shown = replace(feed.shown, log=(line(0),))

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        log = app.screen.query_one(EventLog)
        await press(pilot, key)
        feed.shown = replace(feed.shown, log=tuple(line(i) for i in range(40)))  # overflows behind the dialog
        app.tick()
        await settle(pilot)
        await press(pilot, "escape")
        feed.shown = replace(feed.shown, log=tuple(line(i, f"line {i}") for i in range(60)))
        app.tick()
        await settle(pilot)
        assert log.is_vertical_scroll_end
        assert "line 59" in log.render_line(log.size.height - 1).text

    drive(calm_app(feed), steps)


def test_who_scrolls_up_stays_there_and_follows_again_from_the_end() -> None:
    feed = live_feed()
    feed.shown = replace(feed.shown, log=tuple(line(i) for i in range(40)))

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        log = app.screen.query_one(EventLog)
        log.scroll_to(y=3, animate=False, immediate=True)
        for newest in (50, 60):
            feed.shown = replace(feed.shown, log=tuple(line(i) for i in range(newest)))
            app.tick()
            await settle(pilot)
            assert log.scroll_offset.y == 3
        log.scroll_to(y=log.max_scroll_y, animate=False, immediate=True)
        feed.shown = replace(feed.shown, log=tuple(line(i) for i in range(70)))
        app.tick()
        await settle(pilot)
        assert log.is_vertical_scroll_end

    drive(calm_app(feed), steps)


def test_a_line_that_repeats_takes_the_place_of_the_one_before() -> None:
    feed = live_feed()
    feed.shown = replace(feed.shown, log=(line(0, "a"), line(1, "b")))

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        feed.shown = replace(feed.shown, log=(line(1, "b"), replace(line(2, "a"), count=2)))
        app.tick()
        assert [kept.text for kept in app.screen.query_one(EventLog).lines] == ["b", "a"]

    drive(calm_app(feed), steps)
