"""Golden pictures of the whole screen, as text (see `grids`).

After a wanted change renew them with `RENEW_GOLDENS=1 pytest tests/dashboard/test_pictures.py`, and read the
difference.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from streamer.dashboard.app import StreamerApp
from tests.dashboard.grids import grid_of
from tests.dashboard.piloting import calm_app, drive, settle, utc
from tests.dashboard.scripted_feed import BROKER, ScriptedFeed, live_feed, snapshot, stream_view

GOLDENS = Path(__file__).with_name("goldens")
RENEW = "RENEW_GOLDENS"
README_PICTURE = Path(__file__).parents[1] / "pictures" / "dashboard.svg"
FRAME_COLOURS = {"#ff5f57", "#febc2e", "#28c840", "#c5c8c6"}  # of the window that the exporter draws around the screen


@pytest.fixture(autouse=True)
def _utc() -> Iterator[None]:
    with utc():
        yield


def trouble() -> ScriptedFeed:
    """A watcher of three streams, one of them without its microphone."""
    gone = stream_view("kitchen", 120.0, "mic lost", "The microphone Blue Yeti is gone; plug it in to go on.")
    sparse = replace(gone, level=None, smoothed=None, attention=None, health=None)
    streams = (sparse, stream_view("desk", 271.0), stream_view("door", 60.0, "silence"))
    shown = replace(snapshot(271.0, streams), broker=replace(BROKER, sent=None, queued=None, shed=None))
    return ScriptedFeed(shown, watching=True)


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("feed", [live_feed, trouble], ids=["live", "trouble"])
def test_the_screen_looks_as_it_was_approved(feed, size: tuple[int, int], request: pytest.FixtureRequest) -> None:
    grids: list[str] = []

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        grids.append(grid_of(app))

    drive(calm_app(feed()), steps, size)
    golden = GOLDENS / f"{request.node.callspec.id}.txt"
    if os.environ.get(RENEW):
        golden.write_text(grids[0], encoding="utf-8")
    assert grids[0].splitlines() == golden.read_text(encoding="utf-8").splitlines(), f"renew with {RENEW}=1 if wanted"


def test_every_label_is_drawn_in_its_own_colour() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        for index in range(8):
            assert app.theme_variables[f"label-{index}"].lower() in grid_of(app)

    drive(calm_app(live_feed()), steps, (120, 40))


def shot(app: StreamerApp) -> str:
    pictures: list[str] = []

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        pictures.append(app.export_screenshot())

    drive(app, steps, (120, 40))
    return pictures[0]


def test_the_picture_of_the_readme_shows_todays_panels_and_no_path_of_a_machine() -> None:
    picture = README_PICTURE.read_text(encoding="utf-8").replace("&#160;", " ")
    today = shot(calm_app(live_feed())).replace("&#160;", " ")
    titles = ("Level", "Emotion", "Timeline · 5 min", "Attention · weights over the newest window", "Events", "Health")
    assert [title for title in titles if title not in today] == []
    assert [title for title in titles if title not in picture] == []
    assert not re.search(r"/(home|root|tmp|Users|work)/", picture)
    assert README_PICTURE.stat().st_size < 300_000


def test_every_kind_of_theme_can_draw_it() -> None:
    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        for theme in ("streamer-light", "ansi-dark", "ansi-light", "textual-light", "nord"):
            app.theme = theme
            await settle(pilot)
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
            await settle(pilot)
            assert "LIVE" in app.export_screenshot()

    drive(calm_app(live_feed()), steps)
