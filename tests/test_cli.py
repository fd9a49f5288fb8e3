"""The command line: quick help, model card, doctor, and nothing heavy before it is needed."""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import get_args

import pytest
from typer.testing import CliRunner

import streamer
from streamer.cli import COMMANDS, app

runner = CliRunner()
GROUPS = ["fleet"]  # of commands
NAMES = [command.__name__.replace("_", "-") for command in COMMANDS]
EIGHTY = {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}


def test_the_help_names_every_command_the_exit_codes_and_the_limits_of_use() -> None:
    text = runner.invoke(app, ["--help"], env=EIGHTY).output
    assert [name for name in NAMES if f"\n  {name} " not in text] == []
    assert [f"\n    {code} " in text for code in (0, 1, 2, 130)] == [True] * 4
    assert "Not for use at work or in education" in " ".join(text.split())


def test_no_description_of_a_command_is_cut_at_80_columns() -> None:
    text = runner.invoke(app, ["--help"], env=EIGHTY).output
    lines = text[text.index("Commands:") :].splitlines()[1:]
    assert len(lines) == len(NAMES + GROUPS)
    assert [line for line in lines if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself_with_an_example(name: str, flag: str) -> None:
    result = runner.invoke(app, [name, flag], env=EIGHTY)
    assert result.exit_code == 0
    assert f"\n    streamer {name}" in result.output


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_every_option_says_its_default(command: Callable[..., None]) -> None:
    """Typer prints a default that is a value; for None the help text must say what happens."""
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if parameter.default is None:
            _, info = get_args(parameter.annotation)
            assert "Default: " in info.help, parameter.name


def test_the_version_is_printed() -> None:
    assert runner.invoke(app, ["--version"]).output == f"streamer {streamer.__version__}\n"


def test_a_shell_completes_commands_and_choices() -> None:
    def completed(words: str) -> list[str]:
        environment = {
            "_STREAMER_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }
        code = "import sys; sys.argv[0] = 'streamer'; from streamer.cli import app; app()"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | environment
        )
        return done.stdout.split()

    assert completed("streamer ") == NAMES + GROUPS
    assert completed("streamer fleet dr") == ["drain"]
    assert completed("streamer train --tune ") == ["head", "upper", "deep", "all"]


def test_wrong_usage_ends_with_exit_code_2() -> None:
    assert runner.invoke(app, ["run", "--no-such-option"]).exit_code == 2
    assert runner.invoke(app, ["train", ".", "--tune", "nothing"]).exit_code == 2


def test_the_help_waits_for_nothing_heavy() -> None:
    heavy = (
        *(
            "torch",
            "numpy",
            "pydantic",
            "rich.console",
            "textual",
            "sounddevice",
            "aiomqtt",
            "amqtt",
            "soxr",
            "filelock",
            "encodec",
        ),
        *("silero_vad", "matplotlib", "soundfile", "av", "sklearn"),
    )
    code = f"import sys, streamer, streamer.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_monitor_can_show_itself_before_torch_is_loaded() -> None:
    modules = "commands.terminal_session", "monitor", "publish.open", "publish.jsonlines", "dashboard.app", "config"
    code = f"import sys, {', '.join(f'streamer.{name}' for name in modules)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_public_names_are_loaded_on_first_use() -> None:
    code = (
        "import streamer, sys; assert 'torch' not in sys.modules;"
        "[getattr(streamer, name) for name in streamer.__all__]; assert 'torch' in sys.modules; import encodec"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Nothing"):
        streamer.Nothing  # noqa: B018


def test_info_shows_data_licence_and_accuracy() -> None:
    text = runner.invoke(app, ["info"]).output
    assert [word for word in ("CC BY-NC-SA", "UAR", "CREMA-D", "neutral", "temperature") if word not in text] == []
    text = runner.invoke(app, ["info", "--batch", "16", "--seconds", "2"]).output
    assert [word for word in ("24,000 Hz", "128 dimensions", "16 x 2 s", "parameters") if word not in text] == []
    card = json.loads(runner.invoke(app, ["info", "--json"]).output)
    assert len(card["labels"]) == 8
    assert len(card["sha256"]) == 64


def test_the_doctor_prints_a_line_per_check(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "my.toml"
    config.write_text('[mqtt]\nurl = "mqtt://127.0.0.1:9"\n')
    result = runner.invoke(app, ["doctor", "--config", str(config)])
    assert result.exit_code == 1
    for what in ("settings", "microphone", "model", "compute", "broker"):
        assert f"{what}:" in result.output
    assert "my.toml" in result.output
    assert "Nothing listens" in result.output


def test_the_doctor_looks_at_the_urls_among_the_sources(tmp_path) -> None:
    config = tmp_path / "my.toml"
    config.write_text(
        '[[stream]]\nname = "yard"\nsource = "http://eva:s3cret@127.0.0.1:9/a"\n'
        '[[stream]]\nname = "door"\nsource = "tcp://127.0.0.1:9?format=s16le"\n[mqtt]\nurl = "off"\n'
    )
    result = runner.invoke(app, ["doctor", "--config", str(config)])
    assert result.exit_code == 1
    assert "source yard: http://127.0.0.1:9/a refuses the connection; start its server." in result.output
    assert "source door: tcp://127.0.0.1:9: raw PCM needs its sample rate; write tcp://" in result.output
    assert "s3cret" not in result.output
