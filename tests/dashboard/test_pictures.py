"""Golden pictures, and the one in the README. After a wanted change: pytest --snapshot-update, and look at them."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from streamer.dashboard.app import StreamerApp
from tests.dashboard.piloting import calm_app, drive, utc
from tests.dashboard.scripted_feed import BROKER, ScriptedFeed, live_feed, snapshot, stream_view

PICTURE = Path(__file__).parents[1] / "pictures" / "dashboard.svg"
FRAME_COLOURS = {"#ff5f57", "#febc2e", "#28c840", "#c5c8c6"}  # of the window that the exporter draws around the screen


@pytest.fixture(autouse=True)
def _utc() -> Iterator[None]:
    with utc():
        yield


def trouble() -> ScriptedFeed:
    """A watcher of three streams, one of them without its microphone."""
    gone = stream_view(
        "kitchen", 120.0, "mic lost", "The microphone Blue Yeti is gone; plug it in and listening goes on."
    )
    sparse = replace(gone, level=None, smoothed=None, attention=None, health=None)
    streams = (sparse, stream_view("desk", 271.0), stream_view("door", 60.0, "silence"))
    shown = replace(snapshot(271.0, streams), broker=replace(BROKER, sent=None, queued=None, shed=None))
    return ScriptedFeed(shown, watching=True)


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("feed", [live_feed, trouble], ids=["live", "trouble"])
def test_the_screen_looks_as_it_was_approved(snap_compare, feed, size: tuple[int, int]) -> None:
    async def drawn(pilot: Pilot[None]) -> None:
        pilot.app.tick()
        await pilot.pause()

    assert snap_compare(calm_app(feed()), terminal_size=size, run_before=drawn)


def shot(app: StreamerApp) -> str:
    pictures: list[str] = []

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        pictures.append(app.export_screenshot())

    drive(app, steps, (120, 40))
    return pictures[0]


def test_the_picture_of_the_readme_is_made() -> None:
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(shot(calm_app(live_feed())), encoding="utf-8")
    assert "Attention" in PICTURE.read_text(encoding="utf-8")


def test_every_kind_of_theme_can_draw_it() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        for theme in ("streamer-light", "ansi-dark", "ansi-light", "textual-light", "nord"):
            app.theme = theme
            await pilot.pause()
            assert "surprised" in app.export_screenshot()

    drive(calm_app(live_feed()), steps)


def test_without_colour_nothing_is_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    colours = set(re.findall(r"#[0-9a-f]{6}", shot(calm_app(live_feed())))) - FRAME_COLOURS
    assert colours
    assert all(len(set(bytes.fromhex(colour[1:]))) == 1 for colour in colours)


def test_no_size_of_terminal_breaks_it() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        for size in ((20, 6), (40, 12), (60, 20), (100, 30), (160, 50), (250, 80)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert "LIVE" in app.export_screenshot()

    drive(calm_app(live_feed()), steps)
