"""`streamer calibrate` as a whole: a recording goes in, a profile comes out, and a run uses it."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner, Result

from streamer.cli import app
from streamer.emotion.checkpoint import load_checkpoint, save_checkpoint
from streamer.emotion.enrolment import CollectedSpeech
from streamer.emotion.profile import (
    ProfileError,
    load_profile,
    make_profile,
    profile_folder,
    save_profile,
    stored_names,
)
from streamer.errors import StreamerError, UsageError
from streamer.sources.demo import DEMO
from streamer.sources.muting import Mute, MuteStore
from tests.support.vowels import high_voice

pytestmark = pytest.mark.slow  # models are loaded, or whole programs run

runner = CliRunner()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundled model that has a middle (`mine`), another middle (`other`), and none (`without`)."""
    folder = tmp_path_factory.mktemp("checkpoints")
    bundled = load_checkpoint("bundled")
    for name, middle in (("mine", (0.0,) * 128), ("other", (0.1,) * 128), ("without", None)):
        card = replace(bundled.card, neutral_mean=middle)
        save_checkpoint(folder / f"{name}.safetensors", bundled.tensors, card, torch.float16)
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def call(*arguments: str) -> Result:
    result = runner.invoke(app, arguments)
    if isinstance(result.exception, StreamerError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def calibrate(checkpoints: Path, *arguments: str, checkpoint: str = "mine") -> Result:
    return call("calibrate", *arguments, "--checkpoint", str(checkpoints / f"{checkpoint}.safetensors"))


def full_windows(checkpoints: Path) -> list[dict]:
    """The full windows of the bundled recording's first four seconds."""
    path = checkpoints / "Demo.wav"
    if not path.exists():
        soundfile.write(path, soundfile.read(DEMO, frames=24_000 * 4)[0], 24_000)
    result = call(
        "run", str(path), "--headless", "--fast", "--mqtt", "off", "--checkpoint", str(checkpoints / "mine.safetensors")
    )
    events = [json.loads(line) for line in result.stdout.splitlines()]
    return [e for e in events if e["type"] == "window" and e["probs"] and not e["warming"]]


@pytest.mark.slow
def test_a_profile_is_recorded_used_shown_ignored_by_other_checkpoints_and_removed(checkpoints: Path) -> None:
    before = full_windows(checkpoints)
    printed = calibrate(checkpoints, "demo", "--seconds", "10").stderr
    assert "everyday, neutral voice, about anything: 10 s of speech are collected on demo" in printed
    profile = load_profile("demo", load_checkpoint(checkpoints / "mine.safetensors").sha256)
    assert profile is not None
    assert profile.voice_s == pytest.approx(10.0, abs=0.25)
    assert -60 < profile.level_dbfs < -5
    assert min(profile.scale) > 0

    after = full_windows(checkpoints)
    assert len(after) == len(before)
    assert [w["probs"] for w in after] != [w["probs"] for w in before]
    shown = json.loads(call("info", str(checkpoints / "mine.safetensors"), "--json").output)
    assert shown["voice_profiles"]["demo"].startswith("in use, from 10 s of speech")
    shown = json.loads(call("info", str(checkpoints / "other.safetensors"), "--json").output)
    assert "another checkpoint and is ignored" in shown["voice_profiles"]["demo"]
    assert "is removed" in call("calibrate", "--forget", "demo").stderr
    assert stored_names() == ()


def test_too_little_speech_stores_nothing_and_says_how_much_there_was(checkpoints: Path, tmp_path: Path) -> None:
    speech, rate = soundfile.read(DEMO, frames=24_000 * 4)
    path = tmp_path / "Short Talk.wav"
    soundfile.write(path, np.concatenate([speech, np.zeros(rate)]), rate)
    with pytest.raises(
        ProfileError, match=r"Only [0-3]\.\d s of speech were collected on short-talk and 10 are needed"
    ):
        calibrate(checkpoints, str(path), "--seconds", "10")
    assert stored_names() == ()


def test_a_high_voice_counts_as_speech(checkpoints: Path, tmp_path: Path) -> None:
    path = tmp_path / "high.wav"
    soundfile.write(path, np.tile(high_voice(), 9), 24_000)  # 14.4 s
    said = calibrate(checkpoints, str(path), "--seconds", "10").stderr
    assert re.search(r"Done: 10\.[0-2] s of speech", said)


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [(["-"], "not from a pipe"), (["nowhere.wav"], "no file 'nowhere.wav'")],
    ids=["a pipe", "a missing file"],
)
def test_a_source_without_a_voice_is_refused(checkpoints: Path, arguments: list[str], cure: str) -> None:
    with pytest.raises(UsageError, match=cure):
        calibrate(checkpoints, *arguments)


def test_a_checkpoint_without_a_middle_is_refused_at_once(checkpoints: Path) -> None:
    with pytest.raises(StreamerError, match="has no average of neutral speech"):
        calibrate(checkpoints, "demo", checkpoint="without")


def test_a_stream_that_is_muted_is_not_listened_to(checkpoints: Path) -> None:
    MuteStore().save("mic", Mute("mqtt", 1_795_365_005.0))
    with pytest.raises(StreamerError, match=r"Muted over MQTT, .* lifts it\."):
        calibrate(checkpoints, "mic")


def test_of_several_streams_one_must_be_named(checkpoints: Path, tmp_path: Path) -> None:
    config = tmp_path / "my.toml"
    config.write_text('[[stream]]\nname = "desk"\nsource = "mic"\n[[stream]]\nname = "talk"\nsource = "nowhere.wav"\n')
    with pytest.raises(UsageError, match=r"--name desk \| talk"):
        calibrate(checkpoints, "--config", str(config))
    with pytest.raises(UsageError, match=r"nowhere\.wav"):  # that of the table with the name
        calibrate(checkpoints, "--config", str(config), "--name", "talk")


def test_the_profile_to_remove_must_be_clear() -> None:
    with pytest.raises(ProfileError, match="no voice profile of 'mic'; there are no profiles at all"):
        call("calibrate", "--forget")
    profile_folder().mkdir(parents=True)
    for name in ("desk", "door"):
        (profile_folder() / f"{name}.json").write_text("damaged")
    with pytest.raises(UsageError, match="desk, door; name one"):
        call("calibrate", "--forget")
    call("calibrate", "--forget", "--name", "Door")
    assert stored_names() == ("desk",)
    call("calibrate", "--forget")
    assert stored_names() == ()


def test_the_stored_profiles_are_listed_with_their_checkpoint(checkpoints: Path, capsys: pytest.CaptureFixture) -> None:
    from streamer.commands.calibrate import run_list

    run_list("bundled")
    assert "No voice profile is stored" in capsys.readouterr().out
    voice = CollectedSpeech(20.4, 20.0, 90, -27.5, (0.0,) * 128, (0.25,) * 128)
    for checkpoint in (load_checkpoint(checkpoints / "mine.safetensors").sha256, "cd" * 32):
        save_profile(make_profile(voice, "desk", checkpoint))
    (profile_folder() / "door.json").write_text("damaged")
    run_list(str(checkpoints / "mine.safetensors"))
    text = "".join(capsys.readouterr().out.split())
    assert "inuse" in text
    assert "cdcdcdcdcdcd,another" in text
    assert "20s" in text
    assert "damaged:" in text
