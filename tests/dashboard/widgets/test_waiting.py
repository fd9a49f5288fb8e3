from dataclasses import replace

from textual.pilot import Pilot

from streamer.dashboard.app import StreamerApp
from streamer.dashboard.widgets.health import HealthPanel
from streamer.dashboard.widgets.waiting import Waiting
from tests.dashboard.piloting import calm_app, drive, settle, text_of
from tests.dashboard.scripted_feed import BROKER, ScriptedFeed, empty_snapshot, live_feed


def test_before_the_model_is_loaded_the_screen_says_so() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        assert "loading the model" in text_of(app.screen.query_one(Waiting))

    drive(calm_app(ScriptedFeed(empty_snapshot())), steps)


def test_a_watcher_without_a_monitor_says_where_it_waits_and_why() -> None:
    broker = replace(BROKER, status="connecting", detail="Connection refused.")

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        shown = text_of(app.screen.query_one(Waiting))
        assert "waiting for a monitor on mqtt://127.0.0.1:1883" in shown
        assert "Connection refused." in shown

    drive(calm_app(ScriptedFeed(empty_snapshot(broker), watching=True)), steps)


def test_the_panels_come_with_the_first_stream() -> None:
    feed = ScriptedFeed(empty_snapshot())

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        feed.shown = live_feed().shown
        app.tick()
        await settle(pilot)
        assert not app.screen.query_one(Waiting).display
        assert "latency" in text_of(app.screen.query_one(HealthPanel))

    drive(calm_app(feed), steps)
