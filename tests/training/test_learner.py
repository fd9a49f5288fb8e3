"""One step of training, and what it is averaged to."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from streamer.errors import StreamerError
from streamer.training.learner import TrainingState
from streamer.training.trainer import train_epoch
from tests.training.small_run import QUICK, prepared, silent

pytestmark = pytest.mark.slow  # models are loaded, or whole programs run


def test_the_kept_weights_are_the_moving_average_over_steps(corpus: Path, work: Path) -> None:
    recipe = replace(QUICK, averaging=0.9)
    _, learner, data = prepared(corpus, work, recipe)
    name = "encoder.model.15.conv.conv.weight"
    weights, seen = learner.student.model.state_dict()[name], []
    update = learner.averaged.update_parameters

    def note(student: torch.nn.Module) -> None:
        seen.append(weights.clone())
        update(student)  # type: ignore[no-untyped-call]

    learner.averaged.update_parameters = note  # type: ignore[method-assign, assignment]
    train_epoch(learner, data, recipe, silent)
    mean = seen[0]
    for later in seen[1:]:
        mean = 0.9 * mean + 0.1 * later
    assert len(seen) > 1
    assert torch.allclose(learner.kept.model.state_dict()[name], mean, atol=1e-6)


def test_a_loss_that_is_not_finite_ends_training_and_moves_no_weight(corpus: Path, work: Path) -> None:
    _, learner, data = prepared(corpus, work)
    learner.student.model.classifier.bias.data.fill_(float("nan"))
    before = learner.student.model.classifier.weight.clone()
    with pytest.raises(StreamerError, match="lower learning rate"):
        train_epoch(learner, data, QUICK, silent)
    assert torch.equal(learner.student.model.classifier.weight, before)


def test_an_epoch_is_kept_if_it_is_better_or_if_there_is_no_early_stopping() -> None:
    state = TrainingState()
    assert [state.record(uar, 1.0, patience=3) for uar in (0.5, 0.4, 0.6)] == [True, False, True]
    assert (state.epoch, state.best, state.best_epoch, state.seconds) == (3, 0.6, 3, 3.0)
    assert state.record(0.1, 1.0, patience=0)
    assert (state.best, state.best_epoch) == (0.1, 4)
