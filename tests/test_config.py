"""config.toml, variables and flags: what is read, who wins, and what is said when something is wrong."""

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from streamer.config import load, load_with_problems
from streamer.errors import UsageError
from streamer.pipeline.worker import BEHIND_HOPS
from streamer.settings import RING_HOPS, Settings

DEFAULT_FILE = Path(__file__).parent.parent / "config.toml"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(text)
    return path


def test_the_documented_file_says_exactly_the_defaults() -> None:
    assert load(DEFAULT_FILE) == Settings()


def test_the_documented_file_names_every_key_with_a_comment() -> None:
    text = DEFAULT_FILE.read_text()
    tables = tomllib.loads(text)
    for name, field in Settings.model_fields.items():
        if name not in tables:  # a table of which there may be several is an example in comments
            (example,) = tomllib.loads(re.sub(r"(?m)^# (?=\[\[|[a-z_]+ = )", "", text))[name]
            assert set(example) == set(get_args(field.annotation)[0].model_fields), name
            continue
        assert set(tables[name]) == set(field.annotation.model_fields), name
    settings = [line for line in text.splitlines() if re.match(r"^[a-z_]+ = ", line)]
    assert all("  # " in line or " # " in line for line in settings)


def test_flags_win_over_variables_and_variables_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, '[window]\nhop_s = 0.48\nwindow_s = 2.4\n[model]\ndevice = "cuda"\n')
    monkeypatch.setenv("STREAMER_WINDOW__WINDOW_S", "1.2")
    monkeypatch.setenv("STREAMER_MODEL__DEVICE", "mps")
    settings = load(path, {"model": {"device": "cpu"}})
    assert (settings.window.hop_s, settings.window.window_s, settings.model.device) == (0.48, 1.2, "cpu")


def test_the_file_in_the_working_folder_is_read_without_asking(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[dashboard]\nrefresh_hz = 4\n")
    assert load().dashboard.refresh_hz == 4


def test_a_password_of_digits_stays_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_MQTT__PASSWORD", "0123")
    assert load().mqtt.password.get_secret_value() == "0123"


def test_a_password_is_not_printed() -> None:
    assert "hunter2" not in repr(load(flags={"mqtt": {"password": "hunter2"}}))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[window]\nhop = 0.24\n", ["my.toml", "window.hop", "no such key", "did you mean hop_s?"]),
        ("[windows]\nhop_s = 0.24\n", ["my.toml", "windows", "no such table", "did you mean window?"]),
        ("[me-rics]\n", ["my.toml", "me-rics: no such table", "did you mean metrics?"]),
        ("[int]\n", ["my.toml", "int: no such table"]),
        ('[mqtt]\n"str" = 1\n', ["my.toml", "mqtt.str: no such key"]),
        ('"mqtt://me:secret@host" = 1\n', ["my.toml", "mqtt://…@host: no such table"]),
        ("[window]\nhop_s = 0.25\n", ["my.toml", "window.hop_s", "0.25", "1/75 s", "0.253333"]),
        ("[window]\nhop_s = -0.24\n", ["my.toml", "window.hop_s", "-0.24", "at least 0.0133333"]),
        ("[window]\nhop_s = inf\n", ["my.toml", "window.hop_s", "inf", "seconds"]),
        ('[window]\nhop_s = "fast"\n', ["my.toml", "window.hop_s", "'fast'", "number"]),
        ("[window]\nwindow_s = 0.2\n", ["my.toml", "window", "hop_s = 0.24", "window_s = 0.2"]),
        (
            "[window]\nhop_s = 2.8\n",
            ["my.toml", "window", "audio.ring_s = 8", "hop_s = 2.8", "set audio.ring_s to 8.4 or more"],
        ),
        ("[audio]\nring_s = 1\n[window]\nhop_s = 0.4\n", ["my.toml", "set audio.ring_s to 1.2 or more"]),
        ('[model]\ndevice = "gpu"\n', ["my.toml", "model.device", "'gpu'", 'did you mean "cuda"?', '"cuda:N"']),
        ("[model]\nthreshold = 2\n", ["my.toml", "model.threshold", "2", "auto", "at most 1"]),
        ("[tracker]\nenter = 0.2\nexit = 0.3\n", ["my.toml", "tracker", "exit = 0.3", "enter = 0.2"]),
        ('[audio]\nchannel = "left"\n', ["my.toml", "audio.channel", "'left'", "mix"]),
        ('[[stream]]\nname = "Desk!"\nsource = "mic"\n', ["my.toml", "stream.0.name", "'Desk!'"]),
        ('[[stream]]\nname = "Küche"\nsource = "mic"\n', ["my.toml", "stream.0.name", '"kuche" would be one']),
        ('[stream]\nname = "a"\nsource = "mic"\n', ["my.toml", "stream", "[[stream]]"]),
        ("window = 3\n", ["my.toml", "window", "a table", "[window]"]),
        ("[audio]\nhop_s = 0.24\n", ["my.toml", "audio.hop_s", "belongs into [window]"]),
        ('[model]\nthreads = "4"\n', ["my.toml", "model.threads", "in quotes", "threads = 4"]),
        ('[model]\ncalibration = "false"\n', ["my.toml", "model.calibration", "calibration = false"]),
        ('[model]\nprecision = "float23"\n', ["my.toml", "model.precision", 'did you mean "float32"?']),
        ('[[stream]]\nname = "desk"\n', ["my.toml", "stream.0.source", "missing"]),
        ('[[stream]]\nname="a"\nsource="mic"\n[[stream]]\nname="a"\nsource="demo"\n', ["my.toml", "both named 'a'"]),
        ('[[action]]\nname="a"\ncommand="notify-send hi"\n', ["my.toml", "action.0.command", "list of words", "sh"]),
        ('[[action]]\nname="a"\ncommand=[]\n', ["my.toml", "action.0.command", "its first word is the program"]),
        ('[[action]]\nname="a"\ncommand=["x", 1]\n', ["my.toml", "action.0.command.1", "text in quotes"]),
        ('[[action]]\nname="a"\ncommand=["x"]\nlabels="sad"\n', ["my.toml", "action.0.labels", '["sad"]']),
        ('[[action]]\nname="a"\ncommand=["x"]\non=["ended"]\n', ["my.toml", "action.0.on.0", '"emotion_ended"']),
        ('[[action]]\nname="a"\ncommand=["x"]\non=[]\n', ["my.toml", "action.0.on", "at least 1"]),
        ('[[action]]\nname="a"\ncommand=["x"]\nquiet_hours=["25:00-7:00"]\n', ["quiet_hours.0", "22:00-07:00"]),
        ('[[action]]\nname="a"\ncommand=["x"]\ntimeout_s=0\n', ["my.toml", "action.0.timeout_s", "at least 0.1"]),
        ('[[action]]\nname="a"\ncommand=["x"]\n' * 2, ["my.toml", "both named 'a'"]),
        ("".join(f'[[action]]\nname="a{i}"\ncommand=["x"]\n' for i in range(17)), ["my.toml", "action", "at most 16"]),
        ("[window\n", ["my.toml", "not valid TOML", "line 1"]),
    ],
)
def test_a_wrong_file_is_one_line_with_file_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        load(write(tmp_path, text))
    message = str(caught.value)
    assert "\n" not in message
    assert "^" not in message, "a regular expression is no help"
    assert [part for part in parts if part not in message] == []


def test_a_ring_holds_as_many_hops_as_show_that_the_worker_is_behind(tmp_path: Path) -> None:
    assert RING_HOPS >= BEHIND_HOPS
    assert load(write(tmp_path, "[audio]\nring_s = 1.2\n[window]\nhop_s = 0.4\n")).audio.ring_s == 1.2
    wide = load(write(tmp_path, "[audio]\nring_s = 30\n[window]\nwindow_s = 30\nhop_s = 10\n"))
    assert wide.window.hop_s == 10


def test_a_hop_too_long_for_the_ring_is_refused_wherever_either_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "[window]\nhop_s = 2.4\n")
    assert load(path).window.hop_s == 2.4
    with pytest.raises(UsageError, match=r"audio\.ring_s = 4 .* 7\.2 or more"):
        load(path, {"audio": {"ring_s": 4}})
    with pytest.raises(UsageError, match=r"flag: window is not allowed: .* 9 or more"):
        load(path, {"window": {"hop_s": 3.0}})
    monkeypatch.setenv("STREAMER_WINDOW__HOP_S", "3.0")
    with pytest.raises(UsageError, match=r"STREAMER_WINDOW: .* 9 or more"):
        load(path)


def test_the_password_of_a_source_is_a_variable_that_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_SOURCE_PASSWORD", "s3cret")
    assert "s3cret" not in repr(load())


def test_a_wrong_value_is_quoted_without_the_credentials_in_it(tmp_path: Path) -> None:
    path = write(tmp_path, '[audio]\nsource = ["rtsp://eva:s3cret@cam/yard?token=t0ken"]\n')
    with pytest.raises(UsageError, match=r"audio\.source = \['rtsp://…@cam/yard\?…'\] is not allowed"):
        load(path)


@pytest.mark.parametrize(
    ("variable", "value", "parts"),
    [
        ("STREAMER_WINDOW__HOP_S", "0.25", ["STREAMER_WINDOW__HOP_S", "0.25", "frames"]),
        ("STREAMER_WINDOW__HOP", "1", ["STREAMER_WINDOW__HOP", "no such key"]),
        ("STREAMER_HOP_S", "1", ["STREAMER_HOP_S", "no such setting", "STREAMER_TABLE__KEY"]),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, parts: list[str]
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError) as caught:
        load()
    assert [part for part in parts if part not in str(caught.value)] == []


def test_a_wrong_flag_is_named() -> None:
    with pytest.raises(UsageError, match=r"flag: model\.threads = 0 is not allowed"):
        load(flags={"model": {"threads": 0}})


def test_all_mistakes_are_said_at_once_each_with_its_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, '[window]\nhop = 0.24\n[model]\nthreads = "4"\nthreshold = 2\n[mqt]\nurl = "off"\n')
    monkeypatch.setenv("STREAMER_HOP_S", "1")
    monkeypatch.setenv("STREAMER_DASHBOARD__REFRESH_HZ", "many")
    with pytest.raises(UsageError) as caught:
        load(path, {"model": {"device": "gpu"}})
    head, *lines = str(caught.value).splitlines()
    assert head == "7 settings are wrong:"
    wanted = ("STREAMER_HOP_S", "model.threads", "window.hop", "STREAMER_DASHBOARD__REFRESH_HZ", "flag: model.device")
    assert [
        part for part in (*wanted, "model.threshold", "mqt: no such table") if sum(part in x for x in lines) != 1
    ] == []


def test_what_is_wrong_is_replaced_by_the_default_so_that_the_rest_can_be_looked_at(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[window]\nhop_s = 0.25\nwindow_s = 2.4\n[mqtt]\nprefix = "mine"\nbroker = "x"\n'
        '[[stream]]\nname = "A!"\nsource = "mic"\n[[stream]]\nname = "b"\nsource = "demo"\n',
    )
    loaded = load_with_problems(path)
    assert len(loaded.problems) == 3
    assert (loaded.settings.window.hop_s, loaded.settings.window.window_s) == (0.24, 2.4)
    assert loaded.settings.mqtt.prefix == "mine"
    assert [stream.name for stream in loaded.settings.stream] == ["b"]


@pytest.mark.parametrize("text", ["4", "off", "0.5", "true"])
def test_a_text_setting_may_look_like_a_number(tmp_path: Path, text: str) -> None:
    assert load(write(tmp_path, f'[mqtt]\nprefix = "{text}"\npassword = "{text}"\n')).mqtt.prefix == text


def test_a_file_that_is_not_there_is_said_with_what_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no such configuration file; check the path"):
        load(Path("nowhere.toml"))
    monkeypatch.setenv("STREAMER_CONFIG", str(tmp_path / "no" / "nowhere.toml"))
    with pytest.raises(UsageError, match="is no folder either; check STREAMER_CONFIG"):
        load()


def test_a_folder_in_place_of_a_file_is_said_with_the_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(UsageError, match=r"a folder, and a settings file is wanted, such as .*config\.toml"):
        load(tmp_path)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_bytes(b"\xef\xbb\xbf[window]\r\nhop_s = 0.48\r\n")
    assert load(path).window.hop_s == 0.48


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ("[window]".encode("utf-16"), "UTF-16 text; save it as UTF-8"),
        (b"[window]\n# k\xfcche\n", "line 2 is not UTF-8"),
    ],
)
def test_another_encoding_is_said_with_the_cure(tmp_path: Path, data: bytes, part: str) -> None:
    path = tmp_path / "my.toml"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=part):
        load(path)
