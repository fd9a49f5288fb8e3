"""Speech without labels: the teachers' features are learned from it, and nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from streamer.constants import SAMPLE_RATE
from streamer.corpora.corpus import Clip, read_corpus
from streamer.errors import UsageError
from streamer.training.natural import natural_streams
from streamer.training.prepare import TrainingData, prepare_data
from streamer.training.recipe import Recipe
from streamer.training.run_folder import RunFolder
from streamer.training.student import batch_losses
from streamer.training.teacher import WhisperTeacher
from streamer.training.trainer import build_or_restore, train, train_epoch
from tests.training.small_run import CPU, QUICK, QUIET, opened, silent


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    torch.manual_seed(3)
    save_file({name: tensor.clone() for name, tensor in WhisperTeacher().state_dict().items()}, tmp_path / "t")
    return replace(QUICK, teacher=str(tmp_path / "t"), versions=1)


@pytest.fixture
def unlabelled(tmp_path: Path) -> list[Clip]:
    folder = tmp_path / "books"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for number in range(3):
        soundfile.write(folder / f"{number}.wav", rng.normal(0, 0.05, SAMPLE_RATE), SAMPLE_RATE)
    return [clip for stream in natural_streams([folder]) for clip in stream]


def prepared(run: RunFolder) -> TrainingData:
    return prepare_data(run, build_or_restore(run, CPU), CPU, silent)


def test_its_windows_have_a_teacher_s_targets_and_no_loss_for_labels(
    corpus: Path, tmp_path: Path, recipe: Recipe, unlabelled: list[Clip]
) -> None:
    run = opened(corpus, tmp_path / "work", recipe, unlabelled=unlabelled)
    data, learner = prepared(run), build_or_restore(run, CPU)
    batch = data.windows.batch([clip.key for clip in unlabelled], np.random.default_rng(1))
    assert batch.has_teacher.all()
    assert batch.teacher_frames.abs().sum(dim=(1, 2)).min() > 0
    frames, _, utterance, soft_labels, labels = batch_losses(learner.student, batch, torch.float32)[0].tolist()
    assert min(frames, utterance, soft_labels) > 0
    assert labels == 0


def test_an_epoch_draws_from_it_and_the_head_does_not(
    corpus: Path, tmp_path: Path, recipe: Recipe, unlabelled: list[Clip]
) -> None:
    run = opened(corpus, tmp_path / "work", recipe, unlabelled=unlabelled)
    data, learner = prepared(run), build_or_restore(run, CPU)
    drawn: list[str] = []
    cut = data.windows.source.cut
    data.windows.source.cut = lambda key, *rest: drawn.append(key) or cut(key, *rest)  # type: ignore[method-assign, func-returns-value]
    train_epoch(learner, data, recipe, silent)
    keys = {clip.key for clip in unlabelled}
    assert keys & set(drawn)
    assert not keys & {clip.key for part in (data.train, data.validation, data.test) for clip in part}


def test_the_card_says_so(corpus: Path, tmp_path: Path, recipe: Recipe, unlabelled: list[Clip]) -> None:
    from streamer.emotion import EmotionDetectionModel

    run = opened(corpus, tmp_path / "work", recipe, unlabelled=unlabelled)
    card = EmotionDetectionModel.from_checkpoint(train(run, tmp_path / "made.safetensors", CPU, QUIET)).card
    assert card is not None
    assert "its features learned also from 3 recordings without labels (books), " in card.notes


def test_a_run_is_resumed_with_the_same_recordings(
    corpus: Path, tmp_path: Path, recipe: Recipe, unlabelled: list[Clip]
) -> None:
    work = tmp_path / "work"
    created = opened(corpus, work, recipe, unlabelled=unlabelled)
    assert opened(corpus, work, resume=True, unlabelled=unlabelled) == created
    for others in ((), unlabelled[:2]):
        with pytest.raises(UsageError, match="give the same corpora"):
            opened(corpus, work, resume=True, unlabelled=others)


def test_without_a_teacher_it_is_refused(corpus: Path, tmp_path: Path, unlabelled: list[Clip]) -> None:
    with pytest.raises(UsageError, match="leave --no-teacher out"):
        opened(corpus, tmp_path / "work", QUICK, unlabelled=unlabelled)


def test_a_labelled_recording_is_refused_for_its_speaker_may_be_tested(
    corpus: Path, tmp_path: Path, recipe: Recipe
) -> None:
    with pytest.raises(UsageError, match="one of the labelled recordings"):
        opened(corpus, tmp_path / "work", recipe, unlabelled=read_corpus(corpus).clips[:1])
