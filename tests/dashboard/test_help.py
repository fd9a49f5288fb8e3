from textual.pilot import Pilot
from textual.widgets import Static

from streamer.dashboard.app import StreamerApp
from streamer.dashboard.help import HelpScreen
from streamer.dashboard.screen import MonitorScreen
from tests.dashboard.piloting import calm_app, drive, press
from tests.dashboard.scripted_feed import live_feed


def test_help_opens_and_closes() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        for opening, closing in (("question_mark", "question_mark"), ("f1", "escape")):
            await press(pilot, opening)
            assert isinstance(app.screen, HelpScreen)
            await press(pilot, closing)
            assert isinstance(app.screen, MonitorScreen)

    drive(calm_app(live_feed()), steps)


def test_help_marks_what_holds_now() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "question_mark")
        texts = [str(static.content) for static in app.screen.query(Static)]
        assert any("now ● streamer" in text for text in texts)
        assert any("now ● Blue Yeti" in text for text in texts)
        (chosen,) = app.screen.query(".chosen")
        assert next(str(static.content) for static in chosen.query(Static)) == "● live"

    drive(calm_app(live_feed()), steps, (80, 40))


def test_keys_are_named_as_they_are_printed_on_the_keyboard() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "question_mark")
        names = [str(static.content) for static in app.screen.query(".name").results(Static)]
        assert {"+", "-", "?", "←", "esc, 0"} <= set(names)
        assert [name for name in names if "_" in name or len(name) > 14] == []

    drive(calm_app(live_feed()), steps, (80, 40))
