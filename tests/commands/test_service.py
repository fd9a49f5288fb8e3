"""The unit and the container file have the rights that the settings need, and no others."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamer.cli import app
from streamer.commands import service_needs
from streamer.commands.service_unit import _word
from tests.conftest import missing

MIC = '[audio]\nsource = "mic"\n'


@pytest.fixture(autouse=True)
def _settings_of_the_test_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own files lie in a temporary folder, which a service would not see."""
    monkeypatch.setattr(service_needs, "TEMPORARY", ())
    monkeypatch.setattr(service_needs, "_readable_by_all", lambda path: True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))


def service(text: str, *options: str) -> str:
    Path("my.toml").write_text(text)
    result = CliRunner().invoke(app, ["service", "--config", "my.toml", *options])
    assert result.exit_code == 0, result.output
    return result.output


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, re.M)


def test_a_microphone_gets_the_audio_group_and_sound_devices_and_no_way_out() -> None:
    unit = service(MIC)
    assert values(unit, "SupplementaryGroups") == ["audio"]
    assert values(unit, "DeviceAllow") == ["char-alsa rw"]
    assert values(unit, "DevicePolicy") == ["closed"]
    assert (values(unit, "IPAddressDeny"), values(unit, "IPAddressAllow")) == (["any"], ["localhost"])
    assert values(unit, "DynamicUser") == ["yes"]
    for right in ("NoNewPrivileges", "PrivateTmp"):
        assert values(unit, right) == ["yes"]
    assert values(unit, "CapabilityBoundingSet") == [""]
    (command,) = values(unit, "ExecStart")
    assert command == f"{Path(sys.executable).with_name('streamer')} run --headless --config {Path.cwd()}/my.toml"


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ('[mqtt]\nurl = "mqtt://127.0.0.1"\n', False),
        ('[mqtt]\nurl = "off"\n', False),
        ('[mqtt]\nurl = "mqtts://home.lan"\n', True),
        ('[metrics]\nlisten = "9100"\n', False),
        ('[metrics]\nlisten = "0.0.0.0:9100"\n', True),
        ('[[stream]]\nname = "yard"\nsource = "rtsp://camera.lan/a"\n', True),
        ('[[stream]]\nname = "yard"\nsource = "http://localhost:8000/a"\n', False),
        ('[[action]]\nname = "lamp"\ncommand = ["curl", "http://lamp.lan/on"]\n', True),
    ],
)
def test_other_machines_are_reached_only_where_the_settings_name_some(text: str, network: bool) -> None:
    assert (values(service(text), "IPAddressDeny") == []) == network


def test_without_a_microphone_there_are_no_devices_at_all() -> None:
    unit = service('[model]\ndevice = "cpu"\n[[stream]]\nname = "yard"\nsource = "http://127.0.0.1:8000/a"\n')
    assert values(unit, "PrivateDevices") == ["yes"]
    assert "audio" not in unit.lower().replace("audio;", "")
    assert values(service(MIC + '[model]\ndevice = "cuda"\n'), "DeviceAllow") == ["char-alsa rw", "char-nvidia* rw"]


def test_a_folder_to_record_into_is_written_by_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "eva")
    unit = service('[record]\nfolder = "/srv/two words"\n')
    assert values(unit, "ReadWritePaths") == ['"/srv/two words"']
    assert (values(unit, "User"), values(unit, "DynamicUser")) == (["eva"], [])


def test_files_that_others_cannot_read_are_read_by_their_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_needs, "_readable_by_all", lambda path: path.name != "my.toml")
    monkeypatch.setenv("SUDO_USER", "eva")
    assert values(service(MIC), "User") == ["eva"]


@pytest.mark.parametrize(("home", "seen"), [("/home", "read-only"), ("/nowhere", "yes")])
def test_home_folders_are_seen_only_where_a_file_lies_in_one(
    monkeypatch: pytest.MonkeyPatch, home: str, seen: str
) -> None:
    monkeypatch.setattr(service_needs, "HOMES", (Path(home),))
    assert values(service(f'{MIC}[mqtt]\nca_file = "/home/eva/ca.pem"\n'), "ProtectHome") == [seen]


def test_what_lies_where_a_service_does_not_see_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(service_needs, "TEMPORARY", (tmp_path,))
    Path("my.toml").write_text(MIC)
    result = CliRunner().invoke(app, ["service", "--config", "my.toml"])
    assert "does not see" in str(result.exception)
    result = CliRunner().invoke(app, ["service", "-"])
    assert "`-` cannot be its source" in str(result.exception)


def test_relative_paths_begin_where_the_service_was_printed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    unit = service("", "a.wav")
    assert values(unit, "WorkingDirectory") == [str(tmp_path)]
    assert " run a.wav --headless " in unit
    assert values(service(MIC), "WorkingDirectory") == []


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/usr/bin/streamer", "/usr/bin/streamer"),
        ("mic:My Yeti", '"mic:My Yeti"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ('a"b\\', '"a\\"b\\\\"'),
        ("", '""'),
    ],
)
def test_a_word_stays_one_word_for_systemd(word: str, written: str) -> None:
    assert _word(word) == written


def systemd_analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        missing("systemd-analyze", "install the package systemd")
    return str(found)


ALL = (
    MIC
    + """
[mqtt]
url = "mqtts://home.lan"
[record]
folder = "/srv/two words 100%"
[[action]]
name = "lamp"
command = ["true"]
"""
)


@pytest.mark.real
@pytest.mark.parametrize("text", ["", MIC, ALL])
@pytest.mark.parametrize("options", [(), ("--user",)])
def test_systemd_finds_nothing_to_say_about_the_unit(tmp_path: Path, text: str, options: tuple[str, ...]) -> None:
    unit = tmp_path / "streamer.service"
    unit.write_text(service(text, *options))
    command = [systemd_analyze(), *options, "verify", "--man=no", str(unit)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    said = [line for line in done.stderr.splitlines() if "streamer" in line]
    assert (done.returncode, said) == (0, []), done.stderr


@pytest.mark.real
def test_systemd_calls_its_exposure_low(tmp_path: Path) -> None:
    unit = tmp_path / "streamer.service"
    unit.write_text(service(MIC))
    command = [systemd_analyze(), "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"Overall exposure level for streamer.service: (\S+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) < 2.0, done.stdout


def test_the_container_file_has_no_rights_and_no_secrets() -> None:
    text = service('[mqtt]\npassword = "hunter2"\nurl = "off"\n' + MIC, "--container")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == [
        "FROM", "RUN", "COPY", "COPY", "RUN", "RUN", "ENV", "VOLUME", "USER", "ENTRYPOINT",
    ]  # fmt: skip
    assert "hunter2" not in text
    shell, option, line = json.loads(lines[-1].removeprefix("ENTRYPOINT "))
    assert (shell, option) == ("sh", "-c")
    assert shlex.split(line) == [
        "exec", "streamer", "run", "--headless", "--config", "/etc/streamer/config.toml", ">", "/dev/null",
    ]  # fmt: skip
    hints = [line for line in text.splitlines() if line.startswith("#   ")]
    for option in ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--device=/dev/snd"):
        assert any(option in hint for hint in hints), option
    assert f"#   --volume={Path.cwd()}/my.toml:/etc/streamer/config.toml:ro \\" in hints
    assert not any("--network=host" in hint for hint in hints)


def test_a_container_gets_the_files_that_the_settings_name(tmp_path: Path) -> None:
    (tmp_path / "a b.wav").touch()
    text = service('[metrics]\nlisten = "9100"\n[mqtt]\nca_file = "/etc/ca.pem"\n', "a b.wav", "--container")
    assert "--volume=/etc/ca.pem:/etc/ca.pem:ro" in text
    assert f"'--volume={tmp_path}/a b.wav:{tmp_path}/a b.wav:ro'" in text
    assert f"WORKDIR {tmp_path}" in text
    assert "[metrics]'" in text
    assert "--network=host" in text
    assert "libportaudio2" not in text
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", text, re.M)
    assert shlex.split(json.loads(entry)[2])[:4] == ["exec", "streamer", "run", "a b.wav"]
