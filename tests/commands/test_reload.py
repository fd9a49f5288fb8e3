"""Settings that are read again: what is followed, what waits for a restart, and what is said."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from streamer.commands.configured_streams import ConfiguredStreams, SourceFlags
from streamer.commands.reload import Reloader
from streamer.config import load
from streamer.config_actions import ActionConfig
from streamer.errors import StreamerError, UsageError
from streamer.settings import Settings
from streamer.sources.open import SourceOptions
from streamer.sources.source import Source

DOOR = '[[stream]]\nname = "door"\nsource = "{}"\n'
LAMP = '[[action]]\nname = "lamp"\ncommand = ["lamp"]\n'


@dataclass
class FakeMonitor:
    """Keeps the names of streams; a source named `bad` cannot work."""

    streams: dict[str, str] = field(default_factory=dict)  # name → device
    configured: list[Settings] = field(default_factory=list)
    source_options: SourceOptions = field(default_factory=SourceOptions)
    refuses: str = ""

    def add(self, source: Source) -> str:
        if source.name in self.streams:
            raise UsageError(f"There is a stream named {source.name!r} already.")
        self.replace(source)
        return source.name

    def replace(self, source: Source) -> None:
        if source.name == self.refuses:
            raise StreamerError("It cannot ever work.")
        self.streams[source.name] = source.status().device

    def remove(self, stream: str) -> None:
        del self.streams[stream]
        assert self.streams, "the monitor would end"

    def configure(self, settings: Settings) -> None:
        if settings.tracker.exit == 0.99:
            raise UsageError("config.toml: [tracker]: exit (0.99) must not be above enter (0.5).")
        self.configured.append(settings)


@dataclass
class FakeActions:
    tables: tuple[ActionConfig, ...] = ()

    def configure(self, tables: tuple[ActionConfig, ...]) -> None:
        self.tables = tables


class Bench:
    """A reloader whose settings are the text of a file."""

    def __init__(self, folder: Path, text: str, flags: SourceFlags | None = None) -> None:
        self.file = folder / "my.toml"
        for name in ("a.wav", "b.wav", "c.wav"):
            (folder / name).touch()
        self.folder = folder
        self.write(text)
        self.monitor, self.actions, self.said = FakeMonitor(), FakeActions(), []
        settings = self.load()
        streams = ConfiguredStreams(self.monitor, flags or SourceFlags(), headless=True)  # type: ignore[arg-type]
        streams.open(settings)
        self.reloader = Reloader(self.monitor, streams, self.actions, settings, self.load, self.said.append)  # type: ignore[arg-type]

    def load(self) -> Settings:
        return load(self.file, {"mqtt": {"url": "off"}})

    def write(self, text: str) -> None:
        self.file.write_text(text.replace("HERE", str(self.folder)))

    def reload(self, text: str) -> str:
        """The sentences said for the new settings."""
        self.said.clear()
        self.write(text)
        self.reloader.reload()
        return "\n".join(self.said)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return lambda text="", flags=None: Bench(tmp_path, text, flags)


AUDIO = '[audio]\nsource = "HERE/a.wav"\n'
READ = "The settings were read again; "


def test_thresholds_and_actions_are_followed_and_the_rest_is_named(bench: Any) -> None:
    one = bench(AUDIO)
    said = one.reload(
        AUDIO + "[model]\nthreshold = 0.7\nthreads = 2\n[tracker]\ndwell_s = 2\n[voice]\nthreshold = 0.6\n"
        "[window]\nhop_s = 0.48\n[mqtt]\nnode = 'attic'\nremote_unmute = true\n" + LAMP
    )
    assert said == (
        READ + "in force now: model.threshold, voice.threshold, tracker.dwell_s, mqtt.remote_unmute, action lamp; "
        "after a restart: window.hop_s, model.threads, mqtt.node."
    )
    (settings,) = one.monitor.configured
    assert (settings.model.threshold, settings.tracker.dwell_s, settings.voice.threshold) == (0.7, 2.0, 0.6)
    assert (settings.model.threads, settings.window.hop_s, settings.mqtt.node) == (1, 0.24, "auto")
    assert [table.name for table in one.actions.tables] == ["lamp"]
    assert (
        one.reload(AUDIO)
        == READ + "in force now: model.threshold, voice.threshold, tracker.dwell_s, mqtt.remote_unmute, action lamp."
    )
    assert one.actions.tables == ()
    assert one.reload(AUDIO) == READ + "nothing in them has changed."


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[tracker]\ndwell = 2\n", "did you mean dwell_s?"),
        ("[tracker]\nexit = 0.99\n", "exit (0.99) must not be above enter"),
        ("[tracker\n", "not valid TOML"),
    ],
)
def test_settings_that_are_wrong_change_nothing(bench: Any, text: str, part: str) -> None:
    one = bench(AUDIO + LAMP)
    said = one.reload(text + DOOR.format("HERE/b.wav"))
    assert said.startswith("The settings stay as they are: ")
    assert part in said
    assert (one.monitor.configured, list(one.monitor.streams)) == ([], ["a"])
    one.file.unlink()
    one.reloader.reload()
    assert "there is no such" in one.said[-1]


def test_streams_come_go_and_change_their_source(bench: Any) -> None:
    desk, hall = (
        '[[stream]]\nname = "desk"\nsource = "HERE/a.wav"\n',
        '[[stream]]\nname = "hall"\nsource = "HERE/c.wav"\n',
    )
    one = bench(desk + DOOR.format("HERE/b.wav"))
    said = one.reload(DOOR.format("HERE/a.wav") + hall)
    assert said == READ + "in force now: stream door, stream hall, stream desk (gone)."
    assert {name: Path(device).name for name, device in one.monitor.streams.items()} == {
        "door": "a.wav",
        "hall": "c.wav",
    }
    assert one.reload(DOOR.format("HERE/a.wav") + hall) == READ + "nothing in them has changed."


def test_without_stream_tables_the_source_of_audio_is_followed(bench: Any) -> None:
    one = bench(AUDIO)
    assert one.reload('[audio]\nsource = "HERE/b.wav"\n') == READ + "in force now: stream b."
    assert list(one.monitor.streams) == ["b"]
    assert one.reload(DOOR.format("HERE/c.wav")) == READ + "in force now: stream door, stream b (gone)."
    assert one.reload(AUDIO) == READ + "in force now: stream a, stream door (gone)."
    assert list(one.monitor.streams) == ["a"]


def test_one_stream_that_cannot_be_exchanged_stays_and_the_others_change(bench: Any) -> None:
    desk = '[[stream]]\nname = "desk"\nsource = "HERE/{}"\n'
    one = bench(desk.format("a.wav") + DOOR.format("HERE/b.wav"))
    said = one.reload(desk.format("gone.wav") + DOOR.format("HERE/c.wav")).splitlines()
    assert "desk: there is no file" in said[0]
    assert said[1] == READ + "in force now: stream door."
    assert sorted(one.monitor.streams) == ["desk", "door"]
    assert "standard input can be opened at the start only" in one.reload(desk.format("a.wav") + DOOR.format("-"))
    one.monitor.refuses = "desk"
    assert (
        one.reload(desk.format("c.wav") + DOOR.format("HERE/c.wav"))
        == f"It cannot ever work.\n{READ}nothing in them has changed."
    )


def test_a_source_named_on_the_command_line_stays(bench: Any) -> None:
    one = bench(AUDIO, SourceFlags(one_source=True))
    assert one.reload(AUDIO + DOOR.format("HERE/b.wav")) == READ + "nothing in them has changed."
    assert list(one.monitor.streams) == ["a"]
