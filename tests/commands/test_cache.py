"""`streamer cache`: what is kept is listed, and only what can be fetched again is cleared."""

import json
from pathlib import Path

import platformdirs
import pytest
from typer.testing import CliRunner

from streamer.cli import app

runner = CliRunner()


@pytest.fixture
def folders(tmp_path: Path, user_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(platformdirs, "user_log_path", lambda name: tmp_path / "log" / name)
    return tmp_path


def write(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def test_everything_is_listed_with_size_and_meaning(folders: Path, user_data: Path) -> None:
    assert "Nothing is kept" in runner.invoke(app, ["cache"]).output
    weights = write(folders / "cache/streamer/encodec_24khz.th", 3_000_000)
    write(folders / "cache/streamer/encodec_24khz.th.lock", 0)
    write(folders / "cache/streamer/brokers/1.json", 10)
    write(user_data / "streamer/voices/desk.ab.json", 20)
    write(folders / "log/streamer/streamer.log", 30)
    listed = json.loads(runner.invoke(app, ["cache", "--json"]).output)
    assert [(Path(one["path"]).name, one["bytes"]) for one in listed] == [
        ("brokers", 10), (weights.name, 3_000_000), ("desk.ab.json", 20), ("streamer.log", 30),
    ]  # fmt: skip
    assert "3.0 MB" in runner.invoke(app, ["cache"], env={"COLUMNS": "200"}).output


def test_only_downloads_are_cleared(folders: Path, user_data: Path) -> None:
    weights = write(folders / "cache/streamer/encodec_24khz.th", 3_000_000)
    kept = [
        write(folders / "cache/streamer/brokers/1.json", 10),
        write(user_data / "streamer/voices/desk.ab.json", 20),
        write(folders / "log/streamer/streamer.log", 30),
    ]
    assert "3.0 MB cleared: encodec_24khz.th." in runner.invoke(app, ["cache", "--clear"]).output
    assert not weights.exists()
    assert all(path.exists() for path in kept)
    assert "voice profiles and logs stay" in runner.invoke(app, ["cache", "--clear"]).output
