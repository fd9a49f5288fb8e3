"""The head refitted on all speakers, and how those that the encoder does not know are scored."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamer.commands.train import TrainingOptions, run_training
from streamer.corpora.corpus import read_corpora
from streamer.emotion import load_checkpoint, save_checkpoint
from streamer.errors import UsageError
from streamer.training.export import EvaluatedModel
from streamer.training.head import PooledWindows, fit_head
from streamer.training.recipe import Recipe
from streamer.training.refit_head import refit_head
from tests.training.small_run import CPU, QUIET

pytestmark = pytest.mark.slow  # whole trainings, or the program's own worker

QUICK = Recipe(versions=1, non_speech=0, head_steps=5)
EVERYONE = {"ravdess/01", "ravdess/02", "ravdess/03", "ravdess/04"}


def refitted(corpus: Path, work: Path, checkpoint: str | Path, recipe: Recipe = QUICK) -> Path:
    return refit_head(read_corpora([corpus]), recipe, checkpoint, work, work / "final.safetensors", CPU, QUIET)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that was trained on speaker 01, tuned on 02 and tested on 03; it does not know 04."""
    path = tmp_path_factory.mktemp("made") / "made.safetensors"
    stored = load_checkpoint("measured")
    assert stored.card.speakers is not None
    speakers = replace(stored.card.speakers, train=("ravdess/01",), validation=("ravdess/02",), test=("ravdess/03",))
    save_checkpoint(path, stored.tensors, replace(stored.card, name="made", speakers=speakers))
    return path


@dataclass(frozen=True)
class Refit:
    """A refit that was watched."""

    work: Path  # its caches serve other tests
    output: Path
    fitted_to: list[set[str]]  # the speakers of each head, in the order of fitting


@pytest.fixture(scope="module")
def refit(corpus: Path, made: Path, tmp_path_factory: pytest.TempPathFactory) -> Refit:
    fitted_to: list[set[str]] = []

    def watched(model: Any, windows: PooledWindows, steps: int, seed: int) -> None:
        fitted_to.append({speaker for speaker in windows.speakers if speaker})
        fit_head(model, windows, steps, seed)

    work = tmp_path_factory.mktemp("refit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamer.training.refit_head.fit_head", watched)
        return Refit(work, refitted(corpus, work, made), fitted_to)


@pytest.fixture
def work(refit: Refit, tmp_path: Path) -> Path:
    """A work folder of the test's own, with the caches of `refit`."""
    folder = tmp_path / "work"
    shutil.copytree(refit.work, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return folder


def test_all_speakers_train_and_those_that_the_encoder_does_not_know_are_scored(refit: Refit, made: Path) -> None:
    before, after = load_checkpoint(made).card, load_checkpoint(refit.output).card
    assert after.speakers is not None
    assert (set(after.speakers.train), after.speakers.validation, after.speakers.test) == (EVERYONE, (), ())
    assert [one.window_s for one in after.calibrations] == [one.window_s for one in before.calibrations]
    assert [one.corpus for one in after.accuracy] == ["ravdess"]
    assert "8 whole clips of 2 held-out speakers" in after.accuracy[0].protocol
    assert "each by a head fitted to all other speakers" in after.accuracy[0].protocol
    assert after.notes.startswith("The encoder is made's. The head was fitted to all 4 speakers")


def test_every_scored_speaker_is_left_out_of_the_head_that_scores_it(refit: Refit) -> None:
    tuned, tested = "ravdess/02", ("ravdess/03", "ravdess/04")
    assert refit.fitted_to == [EVERYONE - {left_out} for left_out in (tuned, *tested)] + [EVERYONE]


def test_only_the_classifier_changes(refit: Refit, made: Path) -> None:
    before, after = load_checkpoint(made).tensors, load_checkpoint(refit.output).tensors
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith("classifier.")}


def test_wrong_labels_of_a_speaker_do_not_change_the_predictions_for_that_speaker(
    corpus: Path, made: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted: list[Any] = []

    def watched(evaluated: EvaluatedModel, *rest: Any) -> None:
        predicted.append(evaluated.tested)

    monkeypatch.setattr("streamer.training.refit_head.export_checkpoint", watched)
    refitted(corpus, work, made)
    wrong = [
        replace(
            one,
            clips=tuple(
                replace(clip, label="angry" if clip.label == "neutral" else "neutral") if clip.speaker == "03" else clip
                for clip in one.clips
            ),
        )
        for one in read_corpora([corpus])
    ]
    refit_head(wrong, QUICK, made, work, work / "w.safetensors", CPU, QUIET)
    rows = [[clip.speaker == "03" for clip in predictions.clips] for predictions in predicted]
    assert any(rows[0])
    assert np.allclose(predicted[0].logits[rows[0]], predicted[1].logits[rows[1]], equal_nan=True)


def test_a_checkpoint_that_was_trained_on_everyone_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"bundled has held out no speaker of ravdess to calibrate .*as measured"):
        refitted(corpus, tmp_path, "bundled")


def test_a_checkpoint_whose_card_lists_no_speakers_is_refused(corpus: Path, tmp_path: Path) -> None:
    stored, path = load_checkpoint("measured"), tmp_path / "silent.safetensors"
    save_checkpoint(path, stored.tensors, replace(stored.card, speakers=None))
    with pytest.raises(UsageError, match="does not list its training speakers"):
        refitted(corpus, tmp_path, path)


def test_without_steps_there_is_nothing_to_fit(corpus: Path, made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="head_steps is 0, use 1 or more"):
        refitted(corpus, tmp_path, made, replace(QUICK, head_steps=0))


def test_the_checkpoint_that_it_begins_with_is_not_overwritten(corpus: Path, made: Path, tmp_path: Path) -> None:
    before = made.read_bytes()
    with pytest.raises(UsageError, match="give another --output"):
        run_training([corpus], QUICK, TrainingOptions(output=made, work=tmp_path, final=str(made), device="cpu"))
    assert made.read_bytes() == before


def test_one_command_refits_the_head(corpus: Path, made: Path, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = work / "final.safetensors"
    run_training([corpus], QUICK, TrainingOptions(output=output, work=work, final=str(made), device="cpu"))
    assert "each by a head" in capsys.readouterr().out
    assert load_checkpoint(output).card.name == "final"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("split", "leave --split, --folds"), ("fold", "leave --split, --folds"), ("resume", "leave --resume")],
)
def test_options_that_refitting_has_no_use_for_are_refused(
    corpus: Path, made: Path, tmp_path: Path, wrong: str, words: str
) -> None:
    output = tmp_path / "final.safetensors"
    options: dict[str, Any] = {"split": tmp_path / "split.json", "fold": (2, 3), "resume": True}
    with pytest.raises(UsageError, match=words):
        TrainingOptions(output=output, work=tmp_path, final=str(made), device="cpu", **{wrong: options[wrong]})
    assert not output.exists()
