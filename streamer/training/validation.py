"""How long a training goes on and what its model is worth: what speakers say who were left out of it."""

from pathlib import Path
from typing import TYPE_CHECKING

from streamer.emotion.card import Calibration
from streamer.training.predict import Predictions
from streamer.training.recipe import Recipe
from streamer.training.run_folder import RunState
from streamer.training.temperature import choose_threshold, fit_temperature, probabilities

if TYPE_CHECKING:
    from streamer.training.trainer import Trainer
from streamer.training.export import EvaluatedModel

WINDOWS_S = (1.0, 2.0, 3.0, 5.0)  # lengths that are calibrated


def score(trainer: "Trainer") -> tuple[float, str]:
    """How good the kept weights are, the mean of the corpora's UAR on validation speakers, and that in words."""
    uars = trainer.validate()[0].uars()
    heard = "  ".join(f"{name} {value:.3f}" for name, value in uars.items())
    return sum(uars.values()) / len(uars), f"  validation UAR {heard}"


def is_over(recipe: Recipe, state: RunState) -> bool:
    """Whether no further epoch is wanted: the recipe's end, or no better validation for as long as its patience lasts.

    Without patience validation speakers are too few to choose an epoch by, and all of them are gone through.
    """
    late = recipe.minutes is not None and state.seconds >= 60 * recipe.minutes
    stale = 0 < recipe.patience <= state.epoch - state.best_epoch
    return state.epoch > 0 and (late or stale or state.epoch >= recipe.epochs)


def evaluate_model(trainer: "Trainer") -> EvaluatedModel:
    """Of the finished model: validation speakers say how sure its answers are, test speakers how good."""
    calibrations = tuple(
        calibrate(predictions, window_s)
        for predictions, window_s in zip(trainer.validate(WINDOWS_S), WINDOWS_S, strict=True)
    )
    recipe = trainer.recipe
    notes = (
        f"Started from {Path(recipe.start).name}, trained {recipe.tune}, "
        f"{'with the teacher ' + Path(recipe.teacher).name if recipe.teacher else 'on labels alone'}, "
        f"{'a classifier anew from labels alone, ' if recipe.settling else ''}"
        f"{trainer.state.best_epoch} epochs, seed {recipe.seed}, split seed {trainer.split.seed}. "
        "Speakers of training, validation and test differ. "
        "Acted speech: how people sound when they act an emotion, not what a person feels."
    )
    return EvaluatedModel(calibrations, trainer.test()[0], notes)


def calibrate(predictions: Predictions, window_s: float) -> Calibration:
    """Temperature and threshold for windows of one length, from validation speakers.

    Both with the corpora's masks, since a corpus without surprise cannot say how likely surprise is. A live window's
    probabilities spread over all labels, so somewhat fewer of them reach the threshold.
    """
    temperature = fit_temperature(predictions.logits, predictions.targets)
    probs = probabilities(predictions.logits, temperature)
    threshold = choose_threshold(probs, predictions.targets)
    return Calibration(window_s=window_s, temperature=round(temperature, 4), threshold=threshold)
