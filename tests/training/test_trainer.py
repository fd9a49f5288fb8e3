"""A run from its first stage to the checkpoint."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from streamer.corpora.splits import Split
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from streamer.errors import UsageError
from streamer.progress import Reporter
from streamer.training.losses import Weights
from streamer.training.recipe import Recipe
from streamer.training.run_folder import RunFolder
from streamer.training.trainer import build_or_restore, train, train_epoch
from tests.training.small_run import CPU, QUICK, QUIET, opened, prepared, silent

pytestmark = pytest.mark.slow  # whole trainings, or the program's own worker

TWO_EPOCHS = replace(QUICK, epochs=2)
FAST = replace(QUICK, tune="head", head_steps=0)  # without Muon, which takes half a second a step
STILL = replace(FAST, learning_rate=1e-12)  # no epoch is better than the first


def run_to_its_end(corpus: Path, work: Path, recipe: Recipe = QUICK, workers: int = 0) -> RunFolder:
    run = opened(corpus, work, recipe)
    train(run, work / "model.safetensors", CPU, QUIET, workers)
    return run


@pytest.fixture(scope="module")
def trained(corpus: Path, caches: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a run of two epochs that was not interrupted."""
    work = tmp_path_factory.mktemp("trained") / "work"
    shutil.copytree(caches, work)
    run_to_its_end(corpus, work, TWO_EPOCHS)
    return work


def test_training_leaves_a_checkpoint_with_its_card(trained: Path) -> None:
    card = load_checkpoint(trained / "model.safetensors").card
    assert card.training_data[0] == "ravdess: 16 clips, 4 speakers, CC BY-NC-SA 4.0"
    assert any(data.startswith("crema-d:") for data in card.training_data[1:])  # of the model started from
    assert not any(data.lower().startswith("ravdess") for data in card.training_data[1:])
    assert card.licence == "CC BY-NC-SA 4.0"
    assert [accuracy.corpus for accuracy in card.accuracy] == ["ravdess"]
    assert card.accuracy[0].chance == 0.5
    assert {calibration.window_s for calibration in card.calibrations} == {1.0, 2.0, 3.0, 5.0}
    assert card.neutral_mean is not None
    assert any(card.neutral_mean)
    logits = EmotionDetectionModel.from_checkpoint(trained / "model.safetensors")(torch.zeros(1, 1, 4800))
    assert torch.isfinite(logits).all()


def test_every_epoch_has_a_line_in_the_log(trained: Path) -> None:
    lines = (trained / "log.txt").read_text().splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["epoch", "1"], ["epoch", "2"]]
    assert all("validation UAR ravdess" in line for line in lines[:2])


def test_an_interrupted_run_ends_as_if_it_had_not_been(trained: Path, corpus: Path, work: Path) -> None:
    class InterruptedRunError(Exception):
        pass

    def until_the_second_epoch(items: Any, what: str) -> Any:
        if what == "epoch 2":
            raise InterruptedRunError
        return items

    with pytest.raises(InterruptedRunError):
        train(
            opened(corpus, work, TWO_EPOCHS),
            work / "model.safetensors",
            CPU,
            Reporter(lambda line: None, until_the_second_epoch),
        )
    other = replace(QUICK, epochs=9)  # what the folder holds counts
    train(opened(corpus, work, other, resume=True), work / "model.safetensors", CPU, QUIET)
    ended, whole = (load_checkpoint(folder / "model.safetensors").tensors for folder in (work, trained))
    assert all(torch.equal(ended[name], whole[name]) for name in whole)


def test_other_processes_cut_the_same_windows(trained: Path, corpus: Path, work: Path) -> None:
    run_to_its_end(corpus, work, TWO_EPOCHS, workers=1)
    mine, theirs = (load_checkpoint(folder / "model.safetensors").tensors for folder in (work, trained))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_without_patience_all_epochs_are_trained_and_the_last_is_kept(corpus: Path, work: Path) -> None:
    run = run_to_its_end(corpus, work, replace(STILL, epochs=3, patience=0))
    state = build_or_restore(run, CPU).state
    assert (state.epoch, state.best_epoch) == (3, 3)  # though none is better than the first


def test_early_stopping_ends_training(corpus: Path, work: Path) -> None:
    run = run_to_its_end(corpus, work, replace(STILL, epochs=20, patience=1))
    state = build_or_restore(run, CPU).state
    assert (state.epoch, state.best_epoch) == (2, 1)


def test_the_upper_part_is_trained_and_the_convolutions_stay(trained: Path) -> None:
    before = load_checkpoint("measured").tensors
    after = load_checkpoint(trained / "model.safetensors").tensors
    changed = {name for name in before if not torch.allclose(before[name], after[name], atol=1e-6)}
    assert not any(name.startswith(f"encoder.model.{layer}.") for layer in range(13) for name in changed)
    assert {"encoder.model.13.lstm.weight_hh_l0", "encoder.model.15.conv.conv.weight"} <= changed


def test_the_deep_part_is_trained_and_what_lies_below_stays(corpus: Path, work: Path) -> None:
    _, learner, data = prepared(corpus, work, replace(QUICK, tune="deep"))
    encoder = learner.student.model.encoder
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    train_epoch(learner, data, QUICK, silent)
    after = encoder.state_dict()
    changed = {int(name.split(".")[1]) for name in before if not torch.equal(before[name], after[name])}
    assert changed == {10, 12, 13, 15}  # a residual block, a convolution, the LSTM, a convolution


def test_everything_is_trained_from_a_random_start(corpus: Path, work: Path) -> None:
    recipe = replace(QUICK, start="random", tune="all", batch_size=8)
    _, learner, data = prepared(corpus, work, recipe)
    encoder = learner.student.model.encoder
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    train_epoch(learner, data, recipe, silent)
    after = encoder.state_dict()
    assert not any(torch.equal(before[name], after[name]) for name in before)


def test_a_run_that_trains_everything_leaves_a_checkpoint(corpus: Path, work: Path) -> None:
    run_to_its_end(corpus, work, replace(QUICK, start="random", tune="all", batch_size=8))
    assert load_checkpoint(work / "model.safetensors").card.licence == "CC BY-NC-SA 4.0"


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_descriptors_are_trained_where_they_have_a_weight(corpus: Path, work: Path, weight: float) -> None:
    recipe = replace(FAST, weights=Weights(descriptors=weight))
    _, learner, data = prepared(corpus, work, recipe)
    train_epoch(learner, data, recipe, silent)
    gradient = learner.student.descriptor_answer.weight.grad
    assert gradient is not None
    assert bool(gradient.abs().sum() > 0) == (weight > 0)


def test_the_log_has_the_loss_of_descriptors(corpus: Path, work: Path) -> None:
    run_to_its_end(corpus, work, replace(FAST, weights=Weights(descriptors=1.0)))
    assert "loss descriptors" in (work / "log.txt").read_text()


def test_the_log_has_no_loss_of_descriptors_without_them(trained: Path) -> None:
    assert "descriptors" not in (trained / "log.txt").read_text()


def test_a_start_that_cannot_be_read_costs_an_earlier_run_nothing(trained: Path, corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "work")
    with pytest.raises(CheckpointError):
        opened(corpus, tmp_path / "work", replace(QUICK, start=str(tmp_path / "nothing.safetensors")))
    resumed = opened(corpus, tmp_path / "work", resume=True)
    assert build_or_restore(resumed, CPU).state.epoch == TWO_EPOCHS.epochs


def test_a_card_names_what_training_started_from_and_no_folder(corpus: Path, work: Path, tmp_path: Path) -> None:
    start = tmp_path / "mine.safetensors"
    measured = load_checkpoint("measured")
    save_checkpoint(start, measured.tensors, measured.card)
    run_to_its_end(corpus, work, replace(FAST, start=str(start)))
    notes = load_checkpoint(work / "model.safetensors").card.notes
    assert notes.startswith("Started from mine.safetensors, ")
    assert str(tmp_path) not in notes


@pytest.mark.parametrize("seed", [QUICK.seed, 5])
def test_speakers_that_the_start_knows_keep_their_part(corpus: Path, tmp_path: Path, seed: int) -> None:
    """The model it starts from was trained on 02, tuned on 04 and tested on 01; it does not know 03."""
    split = opened(corpus, tmp_path, replace(QUICK, seed=seed)).split
    assert (split.train, split.validation, split.test) == (
        ("ravdess/02", "ravdess/03"),
        ("ravdess/04",),
        ("ravdess/01",),
    )


def test_a_split_that_tests_training_speakers_of_the_start_is_refused(corpus: Path, tmp_path: Path) -> None:
    split = Split(1, train=("ravdess/01", "ravdess/03"), validation=("ravdess/04",), test=("ravdess/02",))
    with pytest.raises(UsageError, match="ravdess/02 is a test speaker"):
        opened(corpus, tmp_path, split=split)


def test_the_card_lists_the_speakers_of_the_start_too(trained: Path) -> None:
    before = load_checkpoint("measured").card
    after = load_checkpoint(trained / "model.safetensors").card
    assert before.speakers is not None
    assert after.speakers is not None
    assert {*before.speakers.train, *before.speakers.validation} <= {*after.speakers.train, *after.speakers.validation}
    assert set(after.speakers.test) == set(before.speakers.test)
    assert before.licence.startswith(after.licence)


def test_a_given_split_decides_who_is_trained_on_and_stays_with_the_run(corpus: Path, tmp_path: Path) -> None:
    split = Split(1, train=("ravdess/03", "ravdess/04"), validation=("ravdess/02",), test=("ravdess/01",))
    for resume in (False, True):
        run = opened(corpus, tmp_path, split=None if resume else split, resume=resume)
        assert run.split == split
        assert {clip.speaker for clip in run.clips("train")} == {"03", "04"}


def test_a_resumed_run_needs_speakers_in_every_part_too(corpus: Path, tmp_path: Path) -> None:
    opened(corpus, tmp_path)
    split = Split.load(tmp_path / "split.json")
    split.together().save(tmp_path / "split.json")
    with pytest.raises(UsageError, match="validation part has no speaker of ravdess"):
        opened(corpus, tmp_path, resume=True)


def test_a_split_of_other_speakers_is_refused(corpus: Path, tmp_path: Path) -> None:
    split = Split(1, train=("ravdess/03",), validation=("ravdess/02",), test=("ravdess/12",))
    with pytest.raises(UsageError, match="test part has no speaker of ravdess"):
        opened(corpus, tmp_path, split=split)
