"""`streamer bench`: what cannot be measured is refused in one sentence."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamer.bench import virtual_microphone
from streamer.bench.figures import Criterion
from streamer.bench.start import StartReport
from streamer.cli import app
from streamer.commands import bench_program
from streamer.errors import StreamerError, UsageError

runner = CliRunner()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--latency", "--start"), "one of them"),
        (("--latency", "--soak", "1"), "one of them"),
        (("--streams", "--latency"), "one of them"),
        (("--streams", "--hop-s", "0"), "1/75 to 10 s"),
        (("--streams", "--threads", "0"), "at least 1 thread"),
        (("--speech", "0.2"), "needs --streams"),
        (("--streams", "--speech", "0"), "0.01 to 1"),
        (("--streams", "--speech", "20"), "0.01 to 1"),
        (("--streams", "--speech", "nan"), "0.01 to 1"),
        (("--fast",), "--soak MINUTES"),
        (("--load", "--latency"), "--soak MINUTES"),
        (("--soak", "0"), "at least 0.2"),
        (("--soak", "nan"), "at least 0.2"),
        (("--soak", "1", "--fast", "--load"), "leave --load out"),
        (("--soak", "1", "--out", "no/such/folder/soak.jsonl"), "another file"),
        (("--latency", "--clicks", "0"), "at least 1"),
    ],
)
def test_wrong_flags_are_refused_with_the_cure(arguments: tuple[str, ...], word: str) -> None:
    result = runner.invoke(app, ["bench", *arguments])
    assert isinstance(result.exception, UsageError)
    assert word in str(result.exception)


@pytest.mark.parametrize("arguments", [("--latency",), ("--soak", "1")])
def test_without_pulseaudio_the_cure_is_an_installation_line(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(virtual_microphone.shutil, "which", lambda name: None)
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["bench", *arguments])
    assert isinstance(result.exception, StreamerError)
    assert "pactl" in str(result.exception)
    assert "apt-get install pulseaudio" in str(result.exception)


@pytest.mark.parametrize(("met", "code"), [(True, 0), (False, 1)])
def test_the_exit_status_is_the_verdict(met: bool, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = StartReport((0.2,), (2.0,), 440.0, (Criterion("help", "< 0.3 s", "0.20 s", met),))
    monkeypatch.setattr(bench_program, "measure_start", lambda on_step: found)
    result = runner.invoke(app, ["bench", "--start"])
    assert result.exit_code == code
    assert f"| help | < 0.3 s | 0.20 s | {'yes' if met else 'NO'} |" in result.output
    assert json.loads(runner.invoke(app, ["bench", "--start", "--json"]).output)["rss_mb"] == 440.0
