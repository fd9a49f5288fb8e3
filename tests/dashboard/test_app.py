import logging
from dataclasses import replace
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.events import MouseScrollUp
from textual.pilot import Pilot

from streamer.dashboard.app import KEYS, StreamerApp
from streamer.dashboard.screen import MonitorScreen
from streamer.dashboard.statistics_dialog import StatisticsPanel, StatisticsScreen
from streamer.dashboard.widgets.header import StatusHeader
from streamer.dashboard.widgets.health import HealthPanel
from streamer.dashboard.widgets.level import LevelMeter
from streamer.dashboard.widgets.streams import StreamStrip
from streamer.dashboard.widgets.timeline import Timeline
from streamer.errors import StreamerError
from streamer.feed.snapshot import EnrolmentView
from tests.dashboard.piloting import calm_app, drive, press, settle, text_of, until
from tests.dashboard.scripted_feed import ScriptedFeed, live_feed, snapshot, stream_view, three_streams, watcher


def header(app: StreamerApp) -> str:
    return text_of(app.screen_stack[0].query_one(StatusHeader))


def offered(app: StreamerApp) -> set[str]:
    """What the footer shows."""
    return {active.binding.description for active in app.screen.active_bindings.values() if active.binding.show}


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_quit_ends_the_app(key: str) -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await pilot.press(key)
        await until(lambda: not app.is_running)

    assert drive(calm_app(live_feed()), steps).return_code == 0


def test_a_tick_after_the_screens_are_closed_draws_nothing() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        assert app.screen_stack

    app = drive(calm_app(live_feed()), steps)
    assert not app.screen_stack
    app.tick()


def test_space_freezes_the_panels_but_not_the_header() -> None:
    feed = live_feed(271.0)
    now = [0.0]

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        meter = app.screen.query_one(LevelMeter)
        frozen_text = text_of(meter)
        await press(pilot, "space")
        feed.shown = snapshot(277.0, (stream_view("desk", 277.0, status="mic lost", detail="It is gone."),))
        now[0] = 6.0
        app.tick()
        await settle(pilot)
        assert text_of(meter) == frozen_text
        assert "VIEW FROZEN 6 s" in header(app)
        assert "MIC LOST" in header(app)
        assert "resume" in offered(app)
        await press(pilot, "space")
        assert text_of(meter) != frozen_text
        assert "FROZEN" not in header(app)

    drive(calm_app(feed, clock=lambda: now[0]), steps)


def test_m_stops_capture_and_starts_it_again() -> None:
    feed = live_feed()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "m")
        assert feed.calls == [("mute", "desk", True)]
        assert "PAUSED" in header(app)
        assert "unmute" in offered(app)
        await press(pilot, "m")
        assert feed.calls[1:] == [("mute", "desk", False)]

    drive(calm_app(feed), steps)


def test_c_starts_a_voice_profile_of_the_shown_stream_and_c_again_cancels() -> None:
    feed = three_streams()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "n", "c")
        assert feed.calls == [("calibrate", "kitchen")]
        assert "voice profile 0 of 20 s of speech, c cancels: talk in your everyday, neutral voice" in header(app)
        await press(pilot, "c")
        assert feed.calls[1:] == [("cancel", "kitchen")]
        assert "voice profile" not in header(app)

    drive(calm_app(feed), steps, (100, 30))


def test_a_voice_profile_in_use_is_shown_beside_the_model() -> None:
    feed = live_feed()
    feed.shown = replace(feed.shown, streams=tuple(replace(s, calibrated=True) for s in feed.shown.streams))

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        assert "voice profile" in text_of(app.screen.query_one(HealthPanel))

    drive(calm_app(feed), steps, (120, 40))


def test_trouble_with_the_microphone_is_shown_before_the_progress_of_a_voice_profile() -> None:
    stream = stream_view("desk", 271.0, status="mic lost", detail="It is gone.")
    feed = ScriptedFeed(snapshot(271.0, (replace(stream, enrolment=EnrolmentView(3.0, 20.0)),)))

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        assert "It is gone." in header(app)
        assert "voice profile" not in header(app)

    drive(calm_app(feed), steps)


def test_m_acts_on_the_live_stream_while_the_view_is_frozen() -> None:
    feed = live_feed()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "space", "m")
        assert "PAUSED" in header(app)
        await press(pilot, "m")
        assert feed.calls == [("mute", "desk", True), ("mute", "desk", False)]

    drive(calm_app(feed), steps)


def test_next_goes_round_the_streams() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        seen = []
        for key in ("n", "tab", "n", "n"):
            assert app.stream is not None
            seen.append(app.stream.name)
            await press(pilot, key)
        assert seen == ["desk", "kitchen", "door", "desk"]
        assert "kitchen 2/3" in header(app)
        assert "door" in text_of(app.screen.query_one(StreamStrip))

    drive(calm_app(three_streams()), steps)


def test_a_stream_that_goes_away_gives_its_place_to_the_first() -> None:
    feed = three_streams()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "n")
        feed.shown = replace(feed.shown, streams=feed.shown.streams[:1])
        app.tick()
        assert app.stream is not None
        assert app.stream.name == "desk"
        await settle(pilot)
        assert not app.screen.query_one(StreamStrip).display

    drive(calm_app(feed), steps)


def test_t_opens_the_choice_of_themes() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "t")
        await until(lambda: isinstance(app.screen, CommandPalette))

    drive(calm_app(live_feed()), steps)


@pytest.mark.parametrize("folder", [".", "Downloads", "home/Downloads"], ids=["there", "not there", "nor its parent"])
def test_ctrl_s_saves_a_picture_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    downloads = tmp_path / folder
    monkeypatch.setenv("XDG_DOWNLOAD_DIR", str(downloads))

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "ctrl+s")
        await press(pilot, "ctrl+s")
        pictures = sorted(downloads.glob("*.svg"))
        assert len(pictures) == 2
        assert "neutral" in pictures[0].read_text()
        assert {str(picture) for picture in pictures} == {toast.message for toast in app._notifications}

    drive(calm_app(live_feed()), steps)


def test_a_picture_that_cannot_be_saved_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Downloads").write_text("a file in the folder's place")
    monkeypatch.setenv("XDG_DOWNLOAD_DIR", str(tmp_path / "Downloads"))

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "ctrl+s")
        (toast,) = app._notifications
        assert toast.severity == "error"
        assert str(tmp_path / "Downloads") in toast.message

    drive(calm_app(live_feed()), steps)


def test_the_footer_offers_a_watcher_no_microphone_keys() -> None:
    feed = watcher()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        assert offered(app) == {"quit", "freeze", "theme", "help"}
        await press(pilot, "m", "d")
        assert feed.calls == []
        assert isinstance(app.screen, MonitorScreen)

    drive(calm_app(feed), steps)


def test_the_footer_offers_the_next_stream_only_where_there_is_one() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        assert "next" not in offered(app)

    async def steps_of_three(app: StreamerApp, pilot: Pilot[None]) -> None:
        assert "next" in offered(app)

    drive(calm_app(live_feed()), steps)
    drive(calm_app(three_streams()), steps_of_three)


def test_every_key_can_be_remapped_and_explains_itself() -> None:
    assert len({key.id for key in KEYS}) == len(KEYS)
    assert all(key.id and key.tooltip and key.description for key in KEYS)


def test_an_error_of_the_feed_is_shown_until_the_feed_works_again(caplog: pytest.LogCaptureFixture) -> None:
    feed = live_feed()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        feed.failure = StreamerError("The worker has ended; start the program again.")
        with caplog.at_level(logging.ERROR):
            app.tick()
            app.tick()
        await settle(pilot)
        assert "The worker has ended; start the program again." in header(app)
        assert "NO NEW DATA" in header(app)
        assert len(caplog.records) == 1
        feed.failure = None
        app.tick()
        await settle(pilot)
        assert "LIVE" in header(app)

    drive(calm_app(feed), steps)


def test_a_feed_that_raises_from_the_beginning_does_not_end_silently() -> None:
    feed = live_feed()
    feed.failure = RuntimeError("no worker")

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await settle(pilot)
        assert [notice.message for notice in app._notifications] == ["RuntimeError: no worker"]

    drive(calm_app(feed), steps)


def test_the_timeline_is_scrolled_zoomed_and_read_with_a_cursor() -> None:
    feed = live_feed(1200.0)
    feed.shown = snapshot(1200.0, (stream_view("desk", 1200.0, span_s=1200.0),))

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        timeline = app.screen.query_one(Timeline)
        title = lambda: str(timeline.border_title)  # noqa: E731
        assert title() == "Timeline · 5 min"
        await press(pilot, "left", "left", "left")
        assert "┃" in title()
        assert "┃" in text_of(timeline)
        await press(pilot, "minus")
        assert title().startswith("Timeline · 10 min · ┃")
        await press(pilot, "shift+left")
        assert " until " in title()
        before = text_of(timeline)
        feed.shown = replace(feed.shown, time=feed.shown.time + 30)
        app.tick()
        assert text_of(timeline) == before  # an older stretch stands still
        await press(pilot, "escape", "plus")
        assert title() == "Timeline · 5 min"

    drive(calm_app(feed), steps, (120, 40))


def test_a_click_on_the_timeline_sets_the_cursor_and_the_wheel_scrolls() -> None:
    feed = live_feed(1200.0)
    feed.shown = snapshot(1200.0, (stream_view("desk", 1200.0, span_s=1200.0),))

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        timeline = app.screen.query_one(Timeline)
        await pilot.click(Timeline, offset=(40, 3))
        await settle(pilot)
        assert "┃" in str(timeline.border_title)
        await app.run_action("now")
        await pilot._post_mouse_events([MouseScrollUp], Timeline, offset=(40, 3), button=0)
        await settle(pilot)
        assert " until " in str(timeline.border_title)

    drive(calm_app(feed), steps, (120, 40))


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (120, 40)])
def test_s_shows_the_statistics_and_they_go_on(size: tuple[int, int]) -> None:
    feed = live_feed(200.0)

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "s")
        assert isinstance(app.screen, StatisticsScreen)
        panel = app.screen.query_one(StatisticsPanel)
        first = text_of(panel)
        assert all(label in first for label in ("transitions", "speech", "neutral", "/h", "%"))
        feed.shown = snapshot(260.0, (stream_view("desk", 260.0),))
        app.tick()
        await settle(pilot)
        assert text_of(panel) != first
        await press(pilot, "escape")
        assert isinstance(app.screen, MonitorScreen)

    drive(calm_app(feed), steps, size)
