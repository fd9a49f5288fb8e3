"""Mutes are kept on disk, hold whatever happens to the disk, and are followed when others change them."""

import json
from pathlib import Path

import pytest

from streamer.errors import StreamerError
from streamer.sources.muting import Mute, MuteStore, Muting
from tests.support.fakes import FakeSource


@pytest.fixture
def store(tmp_path: Path) -> MuteStore:
    return MuteStore(tmp_path / "muted")


def test_a_mute_holds_for_a_later_monitor_until_it_is_lifted(store: MuteStore) -> None:
    first, second, third = FakeSource(), FakeSource(), FakeSource()
    Muting(store).mute(first, "mqtt")
    later = Muting(store)
    later.adopt(second)
    assert (first.state, second.state) == ("muted", "muted")
    mute = later.get("desk")
    assert mute is not None
    assert mute.sentence("desk").startswith("Muted over MQTT, ")
    later.lift(second)
    Muting(store).adopt(third)
    assert (second.state, third.state) == ("live", "live")


def test_other_streams_are_left_alone(store: MuteStore) -> None:
    Muting(store).mute(FakeSource("desk"), "keyboard")
    door = FakeSource("door")
    assert Muting(store).adopt(door) is None
    assert door.state == "live"


def test_who_muted_first_is_remembered(store: MuteStore) -> None:
    muting, source = Muting(store), FakeSource()
    muting.mute(source, "keyboard")
    muting.mute(source, "mqtt")
    assert store.read("desk").by == "keyboard"


def test_what_others_change_on_disk_is_followed(store: MuteStore) -> None:
    muting, desk, door = Muting(store), FakeSource("desk"), FakeSource("door")
    sources = {"desk": desk, "door": door}
    assert muting.follow(sources) == ()
    store.save("door", Mute("command", 1.0))
    assert muting.follow(sources) == ("door",)
    assert (desk.state, door.state) == ("live", "muted")
    assert muting.follow(sources) == ()
    store.remove("door")
    assert muting.follow(sources) == ("door",)
    assert door.state == "live"


def test_a_recording_that_is_read_as_fast_as_possible_is_not_held_up_by_the_disk(store: MuteStore) -> None:
    store.save("desk", Mute("keyboard", 1.0))
    source = FakeSource(realtime=False)
    muting = Muting(store)
    muting.adopt(source)
    muting.follow({"desk": source})
    assert source.state == "live"


def test_a_mute_that_cannot_be_stored_holds_and_is_reported(tmp_path: Path) -> None:
    (tmp_path / "muted").write_text("a file where the folder should be")
    muting, source = Muting(MuteStore(tmp_path / "muted")), FakeSource()
    with pytest.raises(StreamerError, match="restart would forget"):
        muting.mute(source, "keyboard")
    assert muting.follow({"desk": source}) == ()
    assert source.state == "muted"


def test_a_stream_is_not_captured_while_nobody_knows_whether_it_is_muted(tmp_path: Path) -> None:
    (tmp_path / "muted").write_text("a file where the folder should be")
    with pytest.raises(StreamerError, match="cannot be read"):
        Muting(MuteStore(tmp_path / "muted")).adopt(FakeSource())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"by": 3, "since": "x"}', '{"by": "keyboard", "since": 1e308}', "[" * 100_000]
)
def test_a_damaged_file_still_mutes(store: MuteStore, text: str) -> None:
    store.folder.mkdir()
    (store.folder / "desk.json").write_text(text)
    source = FakeSource()
    mute = Muting(store).adopt(source)
    assert source.state == "muted"
    assert mute is not None
    assert "Muted " in mute.sentence("desk")


def test_nothing_is_left_beside_the_files(store: MuteStore) -> None:
    store.save("desk", Mute("keyboard", 5.0))
    assert [path.name for path in store.folder.iterdir()] == ["desk.json"]
    assert json.loads((store.folder / "desk.json").read_text()) == {"by": "keyboard", "since": 5.0}
    store.remove("desk")
    store.remove("desk")
    assert store.names() == frozenset()
