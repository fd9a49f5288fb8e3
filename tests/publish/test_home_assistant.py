"""What is announced to Home Assistant is remembered, so that what is gone can be cleared after a restart."""

from dataclasses import replace
from pathlib import Path

import pytest

from streamer.publish.home_assistant import HomeAssistant, announced_file
from streamer.publish.topics import Topics
from tests.support.event_samples import INFO

TOPICS = Topics("streamer", "lab")
DESK = "homeassistant/device/streamer_lab_desk/config"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return announced_file(tmp_path, "mqtt://broker:1883", TOPICS)


def test_each_stream_is_announced_and_cleared_when_it_goes(file: Path) -> None:
    home = HomeAssistant("homeassistant", file)
    both = home.messages(TOPICS, replace(INFO, streams=("desk", "door")))
    assert [bool(payload) for payload in both.values()] == [True, True]
    one = home.messages(TOPICS, replace(INFO, streams=("door",)))
    assert one[DESK] == ""
    assert len([payload for payload in one.values() if payload]) == 1


@pytest.mark.parametrize("prefix", [None, "ha"])
def test_a_later_run_clears_what_an_earlier_one_announced(file: Path, prefix: str | None) -> None:
    HomeAssistant("homeassistant", file).messages(TOPICS, INFO)
    later = HomeAssistant(prefix, file)
    assert later.messages(TOPICS, INFO)[DESK] == ""
    assert HomeAssistant(prefix, file).messages(TOPICS, INFO)[DESK] == ""  # not taken by the broker yet
    later.cleared(DESK)
    assert DESK not in HomeAssistant(prefix, file).messages(TOPICS, INFO)


def test_without_discovery_nothing_is_said_and_nothing_is_kept(file: Path) -> None:
    assert HomeAssistant(None, file).messages(TOPICS, INFO) == {}
    assert not file.exists()


@pytest.mark.parametrize("text", ["", "{}", '["streamer/lab/desk/mute", 3]', "[" * 100_000, "\xff"])
def test_a_damaged_file_clears_nothing(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="latin-1")
    assert HomeAssistant(None, file).messages(TOPICS, INFO) == {}


def test_a_folder_that_cannot_be_written_hinders_nothing(tmp_path: Path) -> None:
    (tmp_path / "announced").write_text("a file where the folder should be")
    home = HomeAssistant("homeassistant", announced_file(tmp_path, "mqtt://broker:1883", TOPICS))
    assert home.messages(TOPICS, INFO)[DESK]
