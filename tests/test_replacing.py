"""Files are written as a whole or not at all."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from streamer.replacing import replacing


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as part:
            part.write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_two_writers_do_not_write_over_each_other(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"

    def write(byte: int) -> None:
        for _ in range(50):
            with replacing(path) as part, part.open("wb") as file:
                for _ in range(20):
                    file.write(bytes([byte]) * 1_000)
                    file.flush()

    threads = [threading.Thread(target=write, args=(byte,)) for byte in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = path.read_bytes()
    assert len(content) == 20_000
    assert len(set(content)) == 1
    assert os.listdir(tmp_path) == [path.name]


KILLED = """
import os, sys
from pathlib import Path
from streamer.replacing import replacing
with replacing(Path(sys.argv[1])) as part:
    part.write_text("half")
    os._exit(9)
"""


def test_what_killed_writers_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "desk.json"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    unrelated = tmp_path / ".other.1-abc.part.json"
    unrelated.touch()
    assert len(os.listdir(tmp_path)) >= 2
    with replacing(path) as part:
        part.write_text("whole")
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, unrelated.name])
