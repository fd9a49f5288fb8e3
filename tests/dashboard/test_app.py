import logging
from dataclasses import replace
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.widgets import OptionList

from streamer.dashboard.app import KEYS, StreamerApp
from streamer.dashboard.device_dialog import DeviceScreen
from streamer.dashboard.help import HelpScreen
from streamer.dashboard.screen import MonitorScreen
from streamer.dashboard.widgets.header import StatusHeader
from streamer.dashboard.widgets.health import HealthPanel
from streamer.dashboard.widgets.level import LevelMeter
from streamer.dashboard.widgets.log import KEPT_LINES, EventLog
from streamer.dashboard.widgets.streams import StreamStrip
from streamer.dashboard.widgets.waiting import Waiting
from streamer.errors import StreamerError
from streamer.feed.snapshot import EnrolmentView, LogLine
from tests.dashboard.piloting import calm_app, drive, text_of
from tests.dashboard.scripted_feed import BROKER, ScriptedFeed, empty_snapshot, live_feed, snapshot, stream_view


def three_streams() -> ScriptedFeed:
    names = ("desk", "kitchen", "door")
    return ScriptedFeed(snapshot(271.0, tuple(stream_view(name, 271.0 - 40 * i) for i, name in enumerate(names))))


def watcher() -> ScriptedFeed:
    feed = live_feed()
    feed.watching = True
    return feed


def header(app: StreamerApp) -> str:
    return text_of(app.screen_stack[0].query_one(StatusHeader))


def offered(app: StreamerApp) -> set[str]:
    """What the footer shows."""
    return {active.binding.description for active in app.screen.active_bindings.values() if active.binding.show}


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_quit_ends_the_app(key: str) -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await pilot.press(key)
        await pilot.pause()
        assert not app.is_running

    assert drive(calm_app(live_feed()), steps).return_code == 0


def test_space_freezes_the_panels_but_not_the_header() -> None:
    feed = live_feed(271.0)
    now = [0.0]

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        meter = app.screen.query_one(LevelMeter)
        frozen_text = text_of(meter)
        await pilot.press("space")
        feed.shown = snapshot(277.0, (stream_view("desk", 277.0, status="mic lost", detail="It is gone."),))
        now[0] = 6.0
        app.tick()
        await pilot.pause()
        assert text_of(meter) == frozen_text
        assert "VIEW FROZEN 6 s" in header(app)
        assert "MIC LOST" in header(app)
        assert "resume" in offered(app)
        await pilot.press("space")
        await pilot.pause()
        assert text_of(meter) != frozen_text
        assert "FROZEN" not in header(app)

    drive(calm_app(feed, clock=lambda: now[0]), steps)


def test_m_really_stops_capture_and_starts_it_again() -> None:
    feed = live_feed()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await pilot.press("m")
        await pilot.pause()
        assert feed.asked == [("mute", "desk", True)]
        assert "PAUSED" in header(app)
        assert "unmute" in offered(app)
        await pilot.press("m")
        assert feed.asked[1:] == [("mute", "desk", False)]

    drive(calm_app(feed), steps)


def test_c_learns_the_voice_of_the_stream_that_is_shown_and_c_again_cancels() -> None:
    feed = three_streams()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await pilot.press("n", "c")
        await pilot.pause()
        assert feed.asked == [("calibrate", "kitchen")]
        assert "your voice 0 of 20 s of speech, c cancels: talk in your everyday, neutral voice" in header(app)
        await pilot.press("c")
        await pilot.pause()
        assert feed.asked[1:] == [("cancel", "kitchen")]
        assert "your voice" not in header(app)

    drive(calm_app(feed), steps, (100, 30))


def test_a_voice_profile_in_use_is_shown_beside_the_model() -> None:
    feed = live_feed()
    feed.shown = replace(feed.shown, streams=tuple(replace(s, calibrated=True) for s in feed.shown.streams))

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        assert "your voice" in text_of(app.screen.query_one(HealthPanel))

    drive(calm_app(feed), steps, (120, 40))


def test_trouble_with_the_microphone_is_told_before_the_progress_of_a_voice() -> None:
    stream = stream_view("desk", 271.0, status="mic lost", detail="It is gone.")
    feed = ScriptedFeed(snapshot(271.0, (replace(stream, enrolment=EnrolmentView(3.0, 20.0)),)))

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        assert "It is gone." in header(app)
        assert "your voice" not in header(app)

    drive(calm_app(feed), steps)


def test_m_works_on_the_living_stream_while_the_view_is_frozen() -> None:
    feed = live_feed()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await pilot.press("space", "m")
        await pilot.pause()
        assert "PAUSED" in header(app)
        await pilot.press("m")
        assert feed.asked == [("mute", "desk", True), ("mute", "desk", False)]

    drive(calm_app(feed), steps)


def test_next_goes_round_the_streams() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        seen = []
        for key in ("n", "tab", "n", "n"):
            assert app.stream is not None
            seen.append(app.stream.name)
            await pilot.press(key)
        await pilot.pause()
        assert seen == ["desk", "kitchen", "door", "desk"]
        assert "kitchen 2/3" in header(app)
        assert "door" in text_of(app.screen.query_one(StreamStrip))

    drive(calm_app(three_streams()), steps)


def test_a_stream_that_goes_away_gives_its_place_to_the_first() -> None:
    feed = three_streams()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await pilot.press("n")
        feed.shown = replace(feed.shown, streams=feed.shown.streams[:1])
        app.tick()
        assert app.stream is not None
        assert app.stream.name == "desk"
        await pilot.pause()
        assert not app.screen.query_one(StreamStrip).display

    drive(calm_app(feed), steps)


def test_d_offers_the_devices_and_moves_the_stream() -> None:
    feed = live_feed()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await pilot.press("d")
        assert isinstance(app.screen, DeviceScreen)
        await pilot.pause()
        assert app.screen.query_one(OptionList).highlighted == 0  # the present one
        await pilot.press("down", "down", "enter")
        await pilot.pause()
        assert feed.asked == [("device", "desk", "USB [Audio] Device")]
        assert isinstance(app.screen, MonitorScreen)

    drive(calm_app(feed), steps)


@pytest.mark.parametrize("devices", [(), ("Blue Yeti",)])
def test_escape_keeps_the_device(devices: tuple[str, ...]) -> None:
    feed = live_feed()
    feed.device_names = devices

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await pilot.press("d", "escape")
        assert isinstance(app.screen, MonitorScreen)
        assert feed.asked == []

    drive(calm_app(feed), steps)


def test_t_opens_the_choice_of_themes() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await pilot.press("t")
        await pilot.pause()
        assert isinstance(app.screen, CommandPalette)

    drive(calm_app(live_feed()), steps)


def test_help_opens_and_closes() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        for opening, closing in (("question_mark", "question_mark"), ("f1", "escape")):
            await pilot.press(opening)
            assert isinstance(app.screen, HelpScreen)
            await pilot.press(closing)
            assert isinstance(app.screen, MonitorScreen)

    drive(calm_app(live_feed()), steps)


@pytest.mark.parametrize("folder", [".", "Downloads", "home/Downloads"], ids=["there", "not there", "nor its parent"])
def test_ctrl_s_saves_a_picture_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    downloads = tmp_path / folder
    monkeypatch.setenv("XDG_DOWNLOAD_DIR", str(downloads))

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+s")
        await pilot.press("ctrl+s")
        await pilot.pause()
        pictures = sorted(downloads.glob("*.svg"))
        assert len(pictures) == 2
        assert "neutral" in pictures[0].read_text()
        assert {str(picture) for picture in pictures} == {toast.message for toast in app._notifications}

    drive(calm_app(live_feed()), steps)


def test_a_picture_that_cannot_be_saved_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Downloads").write_text("a file in the folder's place")
    monkeypatch.setenv("XDG_DOWNLOAD_DIR", str(tmp_path / "Downloads"))

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+s")
        await pilot.pause()
        (toast,) = app._notifications
        assert toast.severity == "error"
        assert str(tmp_path / "Downloads") in toast.message

    drive(calm_app(live_feed()), steps)


def test_the_palette_runs_our_commands() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+p")
        await pilot.press(*"kitchen")
        await pilot.pause(0.3)
        await pilot.press("enter")
        await pilot.pause(0.1)
        assert app.stream is not None
        assert app.stream.name == "kitchen"

    drive(calm_app(three_streams()), steps)


def test_the_palette_offers_only_what_can_be_done() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        titles = {command.title for command in app.commands()}
        assert {"Freeze", "Help", "Look at desk"} <= titles
        assert not {"Mute", "Unmute", "Device", "Next", "Resume"} & titles

    drive(calm_app(watcher()), steps)


def test_the_footer_offers_a_watcher_no_microphone_keys() -> None:
    feed = watcher()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        assert offered(app) == {"quit", "freeze", "theme", "help"}
        await pilot.press("m", "d")
        assert feed.asked == []
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


# Waiting


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
        await pilot.pause()
        assert not app.screen.query_one(Waiting).display
        assert "latency" in text_of(app.screen.query_one(HealthPanel))

    drive(calm_app(feed), steps)


# The log


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
        await pilot.pause()
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


# Trouble


def test_a_feed_that_raises_is_shown_and_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    feed = live_feed()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        feed.failure = StreamerError("The worker has ended; start the program again.")
        with caplog.at_level(logging.ERROR):
            app.tick()
            app.tick()
        await pilot.pause()
        assert "The worker has ended; start the program again." in header(app)
        assert "NO NEW DATA" in header(app)
        assert len(caplog.records) == 1
        feed.failure = None
        app.tick()
        await pilot.pause()
        assert "LIVE" in header(app)

    drive(calm_app(feed), steps)


def test_a_feed_that_raises_from_the_beginning_does_not_end_silently() -> None:
    feed = live_feed()
    feed.failure = RuntimeError("no worker")

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await pilot.pause()
        assert [notice.message for notice in app._notifications] == ["RuntimeError: no worker"]

    drive(calm_app(feed), steps)


def test_a_device_list_that_cannot_be_had_opens_no_chooser() -> None:
    feed = live_feed()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        feed.failure = StreamerError("PortAudio is not installed.")
        await pilot.press("d")
        assert isinstance(app.screen, MonitorScreen)

    drive(calm_app(feed), steps)
