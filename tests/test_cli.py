"""The command line: quick help, model card, doctor, and nothing heavy before it is needed."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from streamer.cli import app

runner = CliRunner()
COMMANDS = ("run", "watch", "devices", "doctor", "info", "broker", "bench", "train", "evaluate", "embed", "analyze")


def test_the_help_names_every_command_and_the_limits_of_use() -> None:
    text = runner.invoke(app, ["--help"]).output
    assert [name for name in COMMANDS if name not in text] == []
    assert "Not for use at work or in education" in " ".join(text.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = runner.invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5


def test_the_help_waits_for_nothing_heavy() -> None:
    heavy = ("torch", "textual", "sounddevice", "aiomqtt", "amqtt", "soxr", "encodec", "silero_vad", "matplotlib")
    code = f"import sys, streamer, streamer.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_monitor_can_show_itself_before_torch_is_loaded() -> None:
    code = "import sys, streamer.commands.run, streamer.dashboard.app; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_public_names_are_loaded_on_first_use() -> None:
    code = (
        "import streamer, sys; assert 'torch' not in sys.modules;"
        "[getattr(streamer, name) for name in streamer.__all__]; assert 'torch' in sys.modules; import encodec"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    import streamer

    with pytest.raises(AttributeError, match="Nothing"):
        streamer.Nothing  # noqa: B018


def test_the_model_card_tells_data_licence_and_accuracy() -> None:
    text = runner.invoke(app, ["info"]).output
    assert [word for word in ("CC BY-NC-SA", "UAR", "CREMA-D", "neutral", "temperature") if word not in text] == []
    text = runner.invoke(app, ["info", "--batch", "16", "--seconds", "2"]).output
    assert [word for word in ("24,000 Hz", "128 dimensions", "16 x 2 s", "parameters") if word not in text] == []
    card = json.loads(runner.invoke(app, ["info", "--json"]).output)
    assert len(card["labels"]) == 8
    assert len(card["sha256"]) == 64


def test_the_doctor_gives_each_finding_a_line(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "my.toml"
    config.write_text('[mqtt]\nurl = "mqtt://127.0.0.1:9"\n')
    result = runner.invoke(app, ["doctor", "--config", str(config)])
    assert result.exit_code == 1
    for what in ("settings", "microphone", "model", "compute", "broker"):
        assert f"{what}:" in result.output
    assert "my.toml" in result.output
    assert "Nothing listens" in result.output
