import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from streamer.dashboard.app import StreamerApp
from streamer.dashboard.device_dialog import DeviceScreen
from streamer.dashboard.screen import MonitorScreen
from streamer.errors import StreamerError
from tests.dashboard.piloting import calm_app, drive, press, settle
from tests.dashboard.scripted_feed import live_feed


def test_d_offers_the_devices_and_moves_the_stream() -> None:
    feed = live_feed()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "d")
        assert isinstance(app.screen, DeviceScreen)
        await settle(pilot)
        assert app.screen.query_one(OptionList).highlighted == 0  # the present one
        await press(pilot, "down", "down", "enter")
        assert feed.calls == [("device", "desk", "USB [Audio] Device")]
        assert isinstance(app.screen, MonitorScreen)

    drive(calm_app(feed), steps)


def test_the_second_of_two_devices_with_one_name_can_be_chosen() -> None:
    feed = live_feed()
    feed.device_names = ("Blue Yeti", "Blue Yeti #2")

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "d")
        await settle(pilot)
        await press(pilot, "down", "enter")
        assert feed.calls == [("device", "desk", "Blue Yeti #2")]

    drive(calm_app(feed), steps)


@pytest.mark.parametrize("devices", [(), ("Blue Yeti",)])
def test_escape_keeps_the_device(devices: tuple[str, ...]) -> None:
    feed = live_feed()
    feed.device_names = devices

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "d", "escape")
        assert isinstance(app.screen, MonitorScreen)
        assert feed.calls == []

    drive(calm_app(feed), steps)


def test_a_device_list_that_cannot_be_had_opens_no_chooser() -> None:
    feed = live_feed()

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        feed.failure = StreamerError("PortAudio is not installed.")
        await press(pilot, "d")
        assert isinstance(app.screen, MonitorScreen)

    drive(calm_app(feed), steps)


def test_a_chosen_device_that_is_not_there_is_named_too() -> None:
    feed = live_feed()
    feed.device_names = ("Built-in Microphone",)

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "d")
        texts = [str(static.content) for static in app.screen.query(Static)]
        assert "● Blue Yeti, which is not in the list" in texts

    drive(calm_app(feed), steps)
