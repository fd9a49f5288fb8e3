"""Names, notes and licences from files, devices and streams reach the terminal as plain text."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.command import CommandList
from textual.pilot import Pilot
from textual.widgets import OptionList

from streamer.commands.devices import devices
from streamer.commands.doctor import run_doctor
from streamer.commands.info import info
from streamer.commands.stderr import PlainFormatter, notice
from streamer.dashboard.app import StreamerApp
from streamer.emotion.checkpoint import load_checkpoint, rewrite_card, shipped_path
from streamer.sources.devices import DeviceInfo
from tests.dashboard.piloting import calm_app, drive, press, settle, until
from tests.dashboard.scripted_feed import ScriptedFeed, snapshot, stream_view

HOSTILE = "[@click=app.bell]evil[/] [red]x[/] \x1b]0;owned\x07\x1b[2J\u202egnp"
SHOWN = "[@click=app.bell]evil[/] [red]x[/]"


def assert_plain(text: str) -> None:
    assert "evil" in text
    assert SHOWN in " ".join(text.split())
    assert all(character.isprintable() or character == "\n" for character in text)


def test_a_hostile_card_is_shown_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "hostile.safetensors"
    shutil.copy(shipped_path("bundled"), path)
    card = load_checkpoint(path).card
    rewrite_card(path, replace(card, name=HOSTILE, notes=HOSTILE, licence=HOSTILE))
    info(str(path))
    assert_plain(capsys.readouterr().out)


def test_a_hostile_device_is_shown_as_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = (DeviceInfo(0, HOSTILE, HOSTILE, 1, 48_000.0, True),)
    monkeypatch.setattr("streamer.sources.devices.list_devices", lambda *_: found)
    monkeypatch.setenv("COLUMNS", "300")
    devices()
    assert_plain(capsys.readouterr().out)


@pytest.mark.parametrize("say", [notice, lambda text: print(PlainFormatter().format(record(text)))])
def test_notices_and_logs_are_text(say: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE + " mqtt://me:s3cret@host")
    captured = capsys.readouterr()
    assert_plain(captured.out + captured.err)
    assert "s3cret" not in captured.out + captured.err


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("name", logging.WARNING, "path", 1, "%s", (text,), None)


def test_a_hostile_stream_and_device_are_text_on_the_dashboard() -> None:
    feed = ScriptedFeed(snapshot(271.0, tuple(stream_view(name, 271.0, device=HOSTILE) for name in (HOSTILE, "desk"))))
    feed.device_names = (HOSTILE,)

    async def steps(app: StreamerApp, pilot: Pilot[None]) -> None:
        await press(pilot, "ctrl+p")
        await press(pilot, *"evil")
        hits = app.screen.query_one(CommandList)
        await until(lambda: hits.option_count == 1)
        prompt = hits.options[0].prompt
        assert SHOWN in str(prompt)
        assert "app.bell" not in repr(getattr(prompt, "spans", ""))
        await press(pilot, "escape", "d")
        await settle(pilot)
        assert SHOWN in str(app.screen.query_one(OptionList).options[0].prompt)
        picture = app.export_screenshot()
        assert "\x1b" not in picture
        assert "Input&#160;device&#160;of&#160;[@click=app.bell]evil[/]" in picture, "it is shown, not obeyed"

    drive(calm_app(feed), steps, size=(200, 50))


def test_a_hostile_value_in_the_settings_is_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.commands.doctor.examine", lambda loaded: iter([finding()]))
    run_doctor(None)
    assert_plain(capsys.readouterr().out)


def finding() -> object:
    from streamer.commands.checks.finding import Finding

    return Finding("settings", "bad", HOSTILE)
