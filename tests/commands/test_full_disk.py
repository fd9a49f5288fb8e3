"""What cannot be written is said, with an exit code that is not 0."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.publish.jsonlines import JsonLines
from streamer.sources.demo import DEMO
from tests.support.event_samples import window
from tests.support.real_broker import eventually

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")


def streamer(arguments: str, redirect: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    command = f"exec {sys.executable} -m streamer {arguments} {redirect}"
    environment = os.environ | {"XDG_CONFIG_HOME": str(tmp_path)}
    return subprocess.run(
        ["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False, env=environment, timeout=110
    )


@pytest.mark.parametrize("arguments", ["config", "--help", "--version"])
@pytest.mark.parametrize(
    ("redirect", "why"), [("> /dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
def test_output_that_cannot_be_written_is_said(arguments: str, redirect: str, why: str, tmp_path: Path) -> None:
    done = streamer(arguments, redirect, tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert why in done.stderr


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    done = streamer("config", "| head -c 1 > /dev/null", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("redirect", ["> /dev/full", ">&-"])
def test_a_run_whose_events_cannot_be_written_says_how_many_were_lost(redirect: str, tmp_path: Path) -> None:
    done = streamer("run demo --headless --fast --mqtt off", redirect, tmp_path)
    assert done.returncode == 1
    assert "events were lost" in done.stderr
    assert "Traceback" not in done.stderr


def test_lines_that_cannot_be_written_are_counted_and_the_end_is_called_for() -> None:
    ended = []
    with open("/dev/full", "w") as full:
        out = JsonLines(full, on_closed=lambda: ended.append(True))
        out.start()
        for number in range(5):
            out.publish(window(number))
        eventually(lambda: ended == [True])
        out.close()
    assert out.stats().shed == 5
    assert "No space left on device" in out.failure
    assert "5 events were lost" in out.failure


def test_a_reader_that_closes_its_end_is_no_failure() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as pipe:
        os.close(read)
        out = JsonLines(pipe)
        out.start()
        out.publish(window())
        eventually(lambda: bool(out.stats().detail))
        out.close()
        assert out.failure == ""


SMALL_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
sys.argv = ["streamer", *sys.argv[1:]]
from streamer.cli import main
main()
"""


@pytest.mark.slow
def test_embeddings_that_cannot_be_written_are_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SMALL_FILES, "embed", str(DEMO), "--frames", "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
