import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamer.commands.evaluate import run_evaluation
from streamer.commands.train import TrainingOptions, run_training
from streamer.commands.train_streams import train_streams
from streamer.errors import UsageError
from streamer.evaluation.options import EvaluationOptions
from streamer.folder_claims import claimed_work
from streamer.training.recipe import Recipe
from tests.support.training_corpus import write_corpus

LEAST = EvaluationOptions(streams=0, robustness_clips=0, live_clips=0, noise_minutes=0, peers=False)


@pytest.mark.slow
def test_a_corpus_folder_becomes_a_checkpoint_and_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, model, work = write_corpus(tmp_path / "corpus"), tmp_path / "out" / "mine.safetensors", tmp_path / "work"
    recipe = Recipe(
        start="measured", teacher=None, tune="head", epochs=1, versions=1, window_s=0.3, non_speech=0, head_steps=5
    )
    run_training([corpus], recipe, TrainingOptions(output=model, work=work, device="cpu"))
    printed = capsys.readouterr().out
    assert "split, seed" in printed
    assert "epoch 1" in printed
    line = " ".join(printed[printed.index("test ravdess: UAR") :].split())  # however wide the terminal is
    recall = [float(share) for share in re.findall(r"\w+ (\d\.\d\d)", line.partition("recall")[2].partition(";")[0])]
    assert np.mean(recall) == pytest.approx(float(line.split()[3].rstrip(",")), abs=0.006)  # what UAR is
    assert re.search(
        r"accuracy \d\.\d{3}, (\d\.\d{3}|nan) of the \d+% above the threshold; calibration error 0\.\d{3}", line
    )

    run_evaluation(str(model), [corpus], LEAST, output=tmp_path / "report", work=work)
    assert "# mine" in capsys.readouterr().out
    assert (tmp_path / "report" / "report.md").is_file()


def test_without_a_corpus_there_is_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to train on"):
        run_training([], Recipe(), TrainingOptions(output=tmp_path / "m.safetensors", work=tmp_path))
    with pytest.raises(UsageError, match="nothing to evaluate on"):
        run_evaluation("bundled", [], LEAST, output=tmp_path, work=tmp_path)


def _train(corpus: Path, work: Path) -> None:
    run_training([corpus], Recipe(), TrainingOptions(output=work.parent / "m.safetensors", work=work, device="cpu"))


def _train_streams(corpus: Path, work: Path) -> None:
    train_streams("measured", [corpus], output=work.parent / "m.safetensors", work=work)


def _evaluate(corpus: Path, work: Path) -> None:
    run_evaluation("measured", [corpus], LEAST, output=work.parent / "report", work=work)


@pytest.mark.parametrize("command", [_train, _train_streams, _evaluate])
def test_two_programs_do_not_fill_one_work_folder(tmp_path: Path, command: Callable[[Path, Path], None]) -> None:
    corpus, work = write_corpus(tmp_path / "corpus"), tmp_path / "work"
    with claimed_work(work), pytest.raises(UsageError, match=r"Another training or evaluation works in .*--work"):
        command(corpus, work)
    assert not list(work.glob("audio*"))
    with claimed_work(work):  # it can be had again
        pass


def test_a_work_folder_in_which_nothing_came_about_is_not_left_behind(tmp_path: Path) -> None:
    corpus, work = write_corpus(tmp_path / "corpus"), tmp_path / "new" / "typo"
    options = TrainingOptions(output=tmp_path / "m.safetensors", work=work, resume=True, device="cpu")
    with pytest.raises(UsageError, match="resume"):
        run_training([corpus], Recipe(), options)
    assert not (tmp_path / "new").exists()


def test_what_is_no_teacher_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    corpus, other = write_corpus(tmp_path / "corpus"), tmp_path / "text"
    other.write_text("hello")
    options = replace(LEAST, peers=True, teacher=str(other))
    with pytest.raises(UsageError, match="no safetensors file"):
        run_evaluation("measured", [corpus], options, output=tmp_path / "report", work=tmp_path / "work")
    assert not list(tmp_path.glob("work/audio*"))
