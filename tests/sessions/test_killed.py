"""A day of events, its recorder killed at random ten times, is there with every transition."""

import gzip
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamer.sessions.journal import COMPRESSED, JournalReader, daily_files, journals
from streamer.sessions.recorder import FLUSH_S
from streamer.sessions.replay import Replay
from tests.sessions.sessions_made import Collected, transitions
from tests.sessions.synthetic_day import day

KILLS = 10
PER_SECOND = 2_400  # events: some 12 s for the day's 29,000
SLACK_S = 1.0  # for a busy machine: the recorder's thread may be late


def recorded(folder: Path) -> int:
    """How many whole events of the day the files hold."""
    count = 0
    for _, path in daily_files(folder):
        content = path.read_bytes()
        for line in (gzip.decompress(content) if path.name.endswith(COMPRESSED) else content).splitlines():
            count += b'"type":"info"' not in line[:40] and is_whole(line)
    return count


def is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.timeout(300)  # eleven processes start, one after the other, on a machine that may be busy
def test_ten_kills_at_random_cost_a_second_each_and_no_transition_that_was_written(tmp_path: Path) -> None:
    rng = random.Random(11)
    truth = list(day())
    done = 0
    for kill in range(KILLS + 1):
        command = [sys.executable, "-m", "tests.sessions.record_day", str(tmp_path), str(done), str(PER_SECOND)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as child:
            assert child.stdout is not None
            announced = [child.stdout.readline()]
            if kill < KILLS:
                time.sleep(rng.uniform(0.2, 2.0))
                child.kill()
            killed_at = time.monotonic()
            announced += child.stdout.readlines()
        if kill == KILLS:
            assert child.returncode == 0
            break
        done = recorded(tmp_path)
        old = [int(line.split()[0]) for line in announced if float(line.split()[1]) < killed_at - FLUSH_S - SLACK_S]
        assert done >= max(old, default=0), f"kill {kill}: more than the last second is lost"
    reader = JournalReader(journals([tmp_path]))
    events = [event for event in reader if event.type != "info"]
    assert len(events) == len(truth)
    assert transitions(events) == transitions(truth)
    replayed = Collected()
    replay = Replay(JournalReader(journals([tmp_path])), 1e6, [replayed])
    replay.start()
    assert replay.ended.wait(60)
    replay.stop()
    assert transitions(replayed.events) == transitions(truth)
    assert reader.damaged <= KILLS
    assert len(journals([tmp_path])) == 2, "midnight falls into the day"
