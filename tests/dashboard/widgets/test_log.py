from dataclasses import replace

from textual.pilot import Pilot

from streamer.dashboard.app import StreamerApp
from streamer.dashboard.widgets.log import KEPT_LINES, EventLog
from streamer.feed.snapshot import LogLine
from tests.dashboard.piloting import calm_app, drive, settle
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
