"""Early stopping: when a training ends."""

from streamer.training.learner import TrainingState
from streamer.training.recipe import Recipe


def should_stop(recipe: Recipe, state: TrainingState) -> bool:
    """Return whether training ends: by the recipe's epochs or minutes, or by early stopping.

    Early stopping ends it after `patience` epochs without a better validation UAR. With `patience` 0, for validation
    sets too small to choose an epoch by, all epochs are trained.
    """
    out_of_time = recipe.minutes is not None and state.seconds >= 60 * recipe.minutes
    stale = 0 < recipe.patience <= state.epoch - state.best_epoch
    return state.epoch > 0 and (out_of_time or stale or state.epoch >= recipe.epochs)
