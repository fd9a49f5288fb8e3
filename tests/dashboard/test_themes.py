from pathlib import Path

import pytest
from textual.pilot import Pilot

from streamer.dashboard.app import StreamerApp
from streamer.dashboard.themes import DARK, LIGHT, ThemeMemory, label_colours
from tests.dashboard.piloting import NEVER_HZ, drive, settle
from tests.dashboard.scripted_feed import LABELS, live_feed


def test_each_label_of_the_bundled_model_has_its_colour() -> None:
    colours = label_colours(DARK)
    assert {label: colours[f"label-{index}"] for index, label in enumerate(LABELS)} == {
        "neutral": "#AEB7C4",
        "calm": "#56B4E9",
        "happy": "#EFE15A",
        "sad": "#5590DC",
        "angry": "#EB6B2C",
        "fearful": "#D68DB8",
        "disgust": "#22B58A",
        "surprised": "#E69F00",
    }


def test_no_two_labels_share_a_colour() -> None:
    for theme in (DARK, LIGHT):
        assert len(set(label_colours(theme).values())) == len(LABELS)


def test_the_theme_is_remembered_for_the_next_run(tmp_path: Path) -> None:
    memory = ThemeMemory(tmp_path / "not there yet" / "dashboard.json")

    async def choose(app: StreamerApp, pilot: Pilot[None]) -> None:
        app.theme = "nord"
        await settle(pilot)

    async def look(app: StreamerApp, pilot: Pilot[None]) -> None:
        assert app.theme == "nord"

    for steps in (choose, look):
        drive(StreamerApp(live_feed(), refresh_hz=NEVER_HZ, memory=memory), steps)


@pytest.mark.parametrize("kept", ["", "not JSON", "[]", '{"theme": 7}', '{"theme": "a theme of another version"}'])
def test_a_memory_that_makes_no_sense_is_as_good_as_none(tmp_path: Path, kept: str) -> None:
    (tmp_path / "dashboard.json").write_text(kept)
    app = StreamerApp(live_feed(), memory=ThemeMemory(tmp_path / "dashboard.json"))
    assert app.theme == DARK.name


def test_a_memory_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("")
    ThemeMemory(tmp_path / "in the way" / "dashboard.json").keep("nord")
