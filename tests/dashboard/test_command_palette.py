from textual.command import CommandList
from textual.pilot import Pilot

from streamer.dashboard.app import StreamerApp
from tests.dashboard.piloting import calm_app, drive, press, until
from tests.dashboard.scripted_feed import three_streams, watcher


def test_the_palette_runs_our_commands() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "ctrl+p")
        await press(pilot, *"kitchen")
        hits = app.screen.query_one(CommandList)
        await until(lambda: hits.option_count == 1)  # the search runs in a task of its own
        await press(pilot, "enter")
        await until(lambda: app.stream is not None and app.stream.name == "kitchen")

    drive(calm_app(three_streams()), steps)


def test_the_palette_offers_only_what_can_be_done() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        titles = {command.title for command in app.commands()}
        assert {"Freeze", "Help", "Show desk"} <= titles
        assert not {"Mute", "Unmute", "Device", "Next", "Resume"} & titles

    drive(calm_app(watcher()), steps)


def test_the_palette_marks_the_stream_and_the_theme_that_are_shown() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        assert [command.title for command in app.commands() if command.chosen] == ["Show desk"]
        assert [command.title for command in app.themes() if command.chosen] == ["streamer"]
        await press(pilot, "t")
        hits = app.screen.query_one(CommandList)
        await until(lambda: hits.option_count > 5)
        marked = [str(option.prompt) for option in hits.options if "●" in str(option.prompt)]
        assert [prompt.strip() for prompt in marked] == ["● streamer"]

    drive(calm_app(three_streams()), steps)
