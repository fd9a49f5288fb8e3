"""`embed --ray` and `label --ray`: the numbers of a local run, failures as rows, nothing is done twice."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from streamer.analysis.cache import RowCache
from streamer.constants import SAMPLE_RATE
from streamer.decoding.files import read_whole
from streamer.sources.demo import DEMO
from tests.conftest import missing
from tests.fleet.rig import environment, short_folder

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips, one that is none, and one with a copy."""
    folder = tmp_path_factory.mktemp("clips")
    speech = read_whole(DEMO)
    for number in range(10):
        begin, seconds = 2 * number, 1.0 + 0.1 * number
        clip = speech[begin * SAMPLE_RATE : round((begin + seconds) * SAMPLE_RATE)]
        soundfile.write(folder / f"c{number}.wav", clip, SAMPLE_RATE)
    (folder / "broken.wav").write_bytes(b"RIFF\0\0\0\0WAVEnot at all")
    (folder / "copy.wav").write_bytes((folder / "c3.wav").read_bytes())
    return folder


@pytest.fixture(scope="module")
def variables() -> Iterator[dict[str, str]]:
    if find_spec("ray") is None:
        missing("ray", "pip install -e '.[fleet]'")
    with short_folder() as folder:
        yield environment(folder)


def streamer(variables: dict[str, str], *arguments: str | Path) -> str:
    """Run a command that ends with code 1, since a recording is broken; returns what it says."""
    command = [sys.executable, "-m", "streamer", *map(str, arguments)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=280)
    assert done.returncode == 1, done.stderr
    assert "1 of 12 recordings could not be read" in done.stderr
    return done.stdout + done.stderr


def test_embeddings_are_those_of_a_local_run_and_what_is_there_is_not_computed_again(
    clips: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    streamer(dict(os.environ), "embed", clips, "-o", here, "--threads", "1")
    streamer(variables, "embed", clips, "-o", there, "--threads", "1", "--ray")
    assert np.array_equal(np.load(here / "embeddings.npy"), np.load(there / "embeddings.npy"))
    for name in ("metadata.csv", "failed.csv", "embed.json"):
        assert (here / name).read_bytes() == (there / name).read_bytes()
    rows = [
        row
        for part in there.glob(".cache/*.parts/*.parquet")
        for row in pq.read_table(part, columns=["sha256", "reason"]).to_pylist()
    ]
    assert len({row["sha256"] for row in rows}) == 10


@pytest.mark.campaign
def test_a_run_that_was_killed_goes_on_from_the_parts_that_were_written(
    clips: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    streamer(variables, "embed", clips, "-o", out, "--threads", "1", "--ray")
    wanted = np.load(out / "embeddings.npy")
    (journal,) = (out / ".cache").glob("*.jsonl")
    parts = sorted((out / ".cache" / f"{journal.stem}.parts").glob("*.parquet"))
    assert len(parts) > 2
    kept, cut = parts[0], parts[1]
    marked = kept.stat().st_mtime_ns
    cut.write_bytes(cut.read_bytes()[:100])
    for lost in parts[2:]:
        lost.unlink()
    for file in (journal, journal.with_suffix(".rows")):  # as if it had been killed before it took the parts over
        file.unlink()
    streamer(variables, "embed", clips, "-o", out, "--threads", "1", "--ray")
    assert np.array_equal(np.load(out / "embeddings.npy"), wanted)
    assert kept.stat().st_mtime_ns == marked
    with RowCache(out / ".cache", journal.stem) as cache:
        assert sum(json.loads(line)["sha256"] in cache for line in journal.read_text().splitlines() if line) == 10


@pytest.mark.campaign
def test_labels_are_those_of_a_local_run(clips: Path, variables: dict[str, str], tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    streamer(dict(os.environ), "label", clips, "-o", here, "--jobs", "1")
    streamer(variables, "label", clips, "-o", there, "--ray")
    for table in ("emotions.csv", "summary.csv"):
        assert (here / table).read_bytes() == (there / table).read_bytes()
    assert sorted(path.name for path in (here / "windows").iterdir()) == sorted(
        path.name for path in (there / "windows").iterdir()
    )
    said = streamer(dict(os.environ), "label", clips, "-o", there)
    assert "11 were labelled before" in said


SPREAD = """
import sys
from pathlib import Path
import ray
from streamer.fleet.batches import spread
from tests.fleet.test_corpora import answering

ray.init(address="local", include_dashboard=False, log_to_driver=False)
print(sorted(spread(range(6), answering)), len(list(Path(sys.argv[1]).iterdir())))
"""


def answering() -> Callable[[int], int]:
    """Return what answers, and ends its process over 3."""

    def answer(number: int) -> int:
        if number == 3:
            Path(os.environ["TRIES"], str(time.time_ns())).touch()
            os._exit(1)
        return number

    return answer


@pytest.mark.campaign
def test_a_piece_that_ends_its_process_is_tried_twice_more_and_the_others_are_answered(
    variables: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", SPREAD, str(tmp_path)]
    done = subprocess.run(
        command, env=variables | {"TRIES": str(tmp_path)}, capture_output=True, text=True, timeout=200
    )
    assert "[0, 1, 2, 4, 5] 3" in done.stdout.splitlines(), done.stderr  # among what Ray says
    assert "deprecated" not in done.stderr
