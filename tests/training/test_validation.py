"""When training ends."""

from dataclasses import replace

import pytest

from streamer.training.early_stopping import should_stop
from streamer.training.learner import TrainingState
from tests.training.small_run import QUICK


@pytest.mark.parametrize(
    ("state", "stops"),
    [
        (TrainingState(), False),
        (TrainingState(epoch=4, best_epoch=3), False),
        (TrainingState(epoch=5, best_epoch=3), True),  # two epochs without improvement
        (TrainingState(epoch=9, best_epoch=9), True),  # the recipe's epochs
        (TrainingState(epoch=1, best_epoch=1, seconds=59.9), False),
        (TrainingState(epoch=1, best_epoch=1, seconds=60.0), True),  # the recipe's minutes
        (TrainingState(epoch=0, seconds=60.0), False),  # one epoch is trained in any case
    ],
)
def test_training_ends_by_epochs_by_minutes_or_early(state: TrainingState, stops: bool) -> None:
    assert should_stop(replace(QUICK, epochs=9, patience=2, minutes=1.0), state) is stops


def test_without_patience_there_is_no_early_stopping() -> None:
    recipe = replace(QUICK, epochs=9, patience=0)
    assert not should_stop(recipe, TrainingState(epoch=8, best_epoch=1))
