"""`streamer config`: the settings in force, where each came from, and what is wrong with a file."""

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamer.cli import app
from streamer.config import SettingsError
from streamer.settings import Settings

runner = CliRunner()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "my.toml"


def test_the_settings_in_force_are_a_settings_file_that_says_where_each_came_from(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('[window]\nwindow_s = 2.4\nhop_s = 0.48\n[[stream]]\nname = "a"\nsource = "demo"\n')
    monkeypatch.setenv("STREAMER_WINDOW__HOP_S", "0.72")
    output = runner.invoke(app, ["config", "--config", str(file)]).output
    origin = {line.split(" = ")[0]: line.split("# ")[1] for line in output.splitlines() if " = " in line}
    assert origin["window_s"] == str(file)
    assert origin["hop_s"] == "STREAMER_WINDOW__HOP_S"
    assert origin["device"] == "default"
    again = Settings(**tomllib.loads(output))
    assert (again.window.hop_s, again.stream[0].name) == (0.72, "a")


def test_no_password_is_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(
        '[mqtt]\nurl = "mqtt://eva:hunter2@house"\n[audio]\nsource = "rtsp://eva:hunter2@cam/x?t=hunter2"\n'
    )
    monkeypatch.setenv("STREAMER_MQTT__PASSWORD", "hunter2")
    for form in ([], ["--json"]):
        output = runner.invoke(app, ["config", "--config", str(file), *form]).output
        assert "hunter2" not in output
        assert "house" in output


def test_a_file_without_mistakes_is_said_to_be_right(file: Path) -> None:
    file.write_text("[window]\nhop_s = 0.48\n")
    result = runner.invoke(app, ["config", "--check", str(file)])
    assert (result.exit_code, result.output) == (0, f"{file}: nothing is wrong; 1 setting stands in it.\n")
    assert json.loads(runner.invoke(app, ["config", "--check", str(file), "--json"]).output)["problems"] == []


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('[mqtt]\nprefix = "a/#"\n', "prefix 'a/#' cannot be used"),
        ('[mqtt]\nurl = "mqtt://host:port"\n', "MQTT URL is not understood"),
        ('[mqtt]\nurl = "mqtts://host"\nca_file = "nowhere.pem"\n', "ca_file 'nowhere.pem' cannot be used"),
        ('[audio]\nsource = "nofile.wav"\n', "[audio] source: there is no file 'nofile.wav'"),
        ('[[stream]]\nname = "a"\nsource = "mic:"\n', "[[stream]] a source: 'mic:' names no source"),
    ],
)
def test_what_run_would_refuse_is_wrong_too(file: Path, text: str, part: str) -> None:
    file.write_text(text)
    error = runner.invoke(app, ["config", "--check", str(file)]).exception
    assert isinstance(error, SettingsError)
    assert error.exit_code == 2
    assert part in str(error)


def test_a_wrong_setting_is_shown_as_the_default_it_was_replaced_by(file: Path) -> None:
    file.write_text("[window]\nhop_s = 0.25\n")
    result = runner.invoke(app, ["config", "--config", str(file)])
    assert "hop_s = 0.24                             # default" in result.output
    assert isinstance(result.exception, SettingsError)
