"""An emotion that a crash left open is closed by the next run."""

from dataclasses import replace
from pathlib import Path

import pytest

from streamer.events import EmotionEnded, EmotionStarted, State
from streamer.publish.open_emotions import OpenEmotions, open_emotions_file

STARTED = EmotionStarted("desk", "ab-000001", 1000.0, "angry", None, 0.8, 5.0)
ENDED = EmotionEnded("desk", "ab-000001", 1030.0, "angry", 30.0, 0.9)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return open_emotions_file(tmp_path, "streamer", "lab")


def test_what_was_left_open_is_ended_with_what_was_known_last(file: Path) -> None:
    crashed = OpenEmotions(file)
    crashed.note(STARTED)
    crashed.note(State("desk", 1020.0, "angry", 0.9, 1000.0))
    crashed.note(State("desk", 1025.0, None, None, 1025.0))  # of another label: not of this emotion
    crashed.note(State("door", 1026.0, "angry", 0.9, 1000.0))
    (end,) = OpenEmotions(file).left_open(now=5000.0)
    assert end == EmotionEnded("desk", "ab-000001", 5000.0, "angry", 20.0, 0.9, "restart")


def test_the_end_is_sent_again_until_it_was_taken(file: Path) -> None:
    OpenEmotions(file).note(STARTED)
    for _ in range(2):
        later = OpenEmotions(file)
        (end,) = later.left_open(now=5000.0)
    later.note(end)
    later.close()
    assert OpenEmotions(file).left_open(now=5000.0) == []
    assert list(file.parent.iterdir()) == []


def test_a_line_that_a_kill_cut_costs_only_itself(file: Path) -> None:
    crashed = OpenEmotions(file)
    crashed.note(STARTED)
    crashed.note(replace(STARTED, stream="door"))
    file.write_bytes(file.read_bytes()[:-5])
    assert [end.stream for end in OpenEmotions(file).left_open(now=5000.0)] == ["desk"]


def test_the_file_stays_small_over_months(file: Path) -> None:
    run = OpenEmotions(file)
    run.note(STARTED)
    for second in range(5_000):
        run.note(State("desk", 1000.0 + second, "angry", 0.9, 1000.0))
    assert file.stat().st_size < 300_000
    (end,) = OpenEmotions(file).left_open(now=9000.0)
    assert end.duration_s == 4_999.0


def test_an_emotion_that_ended_leaves_nothing(file: Path) -> None:
    run = OpenEmotions(file)
    run.note(STARTED)
    run.note(EmotionEnded("desk", "other-000001", 1030.0, "angry", 30.0, 0.9))
    assert len(OpenEmotions(file).left_open(now=5000.0)) == 1
    run.note(ENDED)
    assert OpenEmotions(file).left_open(now=5000.0) == []


@pytest.mark.parametrize("text", ["", "[]", '{"desk": 3}', '{"desk": {"id": "a"}}', "[" * 100_000])
def test_a_damaged_file_closes_nothing(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert OpenEmotions(file).left_open(now=5000.0) == []


def test_a_folder_that_cannot_be_written_hinders_nothing(tmp_path: Path) -> None:
    (tmp_path / "open").write_text("a file where the folder should be")
    run = OpenEmotions(open_emotions_file(tmp_path, "streamer", "lab"))
    run.note(STARTED)
    run.note(ENDED)
