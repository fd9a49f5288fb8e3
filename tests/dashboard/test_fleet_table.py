"""The fleet's table: the worst first, searched as one types, and Enter chooses a stream that is served."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from streamer.commands.fleet_watch import OneStream
from streamer.dashboard.fleet_table import MOST_ROWS, FleetRow, FleetTable, FleetView
from streamer.feed.watch import WatchFeed
from tests.support.event_samples import INFO, window

ROWS = (
    FleetRow("gate", "unserved", "", 0, "no shard of the group 'default' has room"),
    FleetRow("desk", "source lost", "fleet-default-0", 5, ""),
    FleetRow("door", "live", "fleet-default-1", 0, ""),
    FleetRow("dock", "live", "fleet-default-1", 0, ""),
)


def drive(
    look: Callable[[], FleetView], steps: Callable[[FleetTable, Pilot[FleetRow]], Awaitable[None]]
) -> FleetRow | None:
    app = FleetTable(look)

    async def run() -> None:
        async with app.run_test(size=(100, 24)) as pilot:
            await app.workers.wait_for_complete()
            await pilot.pause()
            await steps(app, pilot)

    asyncio.run(run())
    return app.return_value


def shown(app: FleetTable) -> list[str]:
    table = app.query_one(DataTable)
    return [str(table.get_row_at(number)[0]) for number in range(table.row_count)]


def head(app: FleetTable) -> str:
    return str(app.query(Static).first().render())


def test_the_worst_come_first_and_a_search_finds_rows_by_all_their_words() -> None:
    async def steps(app: FleetTable, pilot: Pilot[FleetRow]) -> None:
        assert shown(app) == ["gate", "desk", "door", "dock"]
        assert "3 of 4" in head(app)
        await pilot.press("slash", *"live")
        assert shown(app) == ["door", "dock"]
        await pilot.press("space", *"doc")
        assert shown(app) == ["dock"]
        await pilot.press("enter", "enter")

    chosen = drive(lambda: FleetView("fleet: 3 of 4 streams served", ROWS), steps)
    assert chosen == ROWS[3]


def test_a_stream_that_nobody_serves_is_not_chosen() -> None:
    async def steps(app: FleetTable, pilot: Pilot[FleetRow]) -> None:
        await pilot.press("enter")
        assert app.is_running
        await pilot.press("down", "enter")

    assert drive(lambda: FleetView("", ROWS), steps) == ROWS[1]


def test_what_goes_wrong_is_said_above_the_rows_that_were_known() -> None:
    answers = [FleetView("all is well", ROWS)]

    def look() -> FleetView:
        if not answers:
            raise ConnectionError("the director does not answer")
        return answers.pop()

    async def steps(app: FleetTable, pilot: Pilot[FleetRow]) -> None:
        app.look()
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert "does not answer" in head(app)
        assert len(shown(app)) == 4
        await pilot.press("q")

    assert drive(look, steps) is None


def test_of_thousands_of_streams_some_are_shown_and_the_others_found() -> None:
    rows = tuple(FleetRow(f"s{number}", "live", "fleet-default-0", 0, "") for number in range(10_000))

    async def steps(app: FleetTable, pilot: Pilot[FleetRow]) -> None:
        assert len(shown(app)) == MOST_ROWS
        assert f"The first {MOST_ROWS} of 10,000 rows" in head(app)
        await pilot.press("slash", *"s9876")
        assert shown(app) == ["s9876"]

    drive(lambda: FleetView("", rows), steps)


def test_the_dashboard_of_one_stream_shows_no_other() -> None:
    feed = WatchFeed("mqtt://broker")
    sink = OneStream(feed, "desk")
    sink.on_event("fleet-default-0", replace(INFO, streams=("desk", "door")))
    sink.on_event("fleet-default-0", window(stream="desk"))
    sink.on_event("fleet-default-0", window(stream="door"))
    assert [stream.name for stream in feed.snapshot().streams] == ["fleet-default-0/desk"]
