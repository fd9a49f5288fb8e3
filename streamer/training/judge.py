"""How long a training goes on and what its model is worth: what speakers say who were left out of it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamer.emotion.card import Accuracy, Calibration
from streamer.training.calibration import choose_threshold, fit_temperature, probabilities
from streamer.training.metrics import bootstrap_interval, uar, uar_of_rows
from streamer.training.predict import Predictions
from streamer.training.recipe import Recipe
from streamer.training.run import RunState
from streamer.training.splits import DEFAULT_SEED, speaker_of

if TYPE_CHECKING:
    from streamer.training.train import Trainer

WINDOWS_S = (1.0, 2.0, 3.0, 5.0)  # lengths that are calibrated


@dataclass(frozen=True, slots=True)
class Worth:
    """What the card says of a model's answers."""

    calibrations: tuple[Calibration, ...]
    accuracy: tuple[Accuracy, ...]
    tested: Predictions  # what that is of
    notes: str


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


def worth_of(trainer: "Trainer") -> Worth:
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
    tested = trainer.test()[0]
    return Worth(calibrations, measure(tested), tested, notes)


def calibrate(predictions: Predictions, window_s: float) -> Calibration:
    """Temperature and threshold for windows of one length, from validation speakers.

    Both with the corpora's masks, since a corpus without surprise cannot say how likely surprise is. A live window's
    probabilities spread over all labels, so somewhat fewer of them reach the threshold.
    """
    temperature = fit_temperature(predictions.logits, predictions.answers)
    probs = probabilities(predictions.logits, temperature)
    threshold = choose_threshold(probs, predictions.answers)
    return Calibration(window_s=window_s, temperature=round(temperature, 4), threshold=threshold)


def measure(predictions: Predictions) -> tuple[Accuracy, ...]:
    """UAR of each corpus, with the interval over speakers in the protocol's text."""
    accuracies = []
    for name in predictions.uars():
        part = predictions.of_corpus(name)
        answers, guesses = part.answers, part.guesses
        speakers = [speaker_of(clip) for clip in part.clips]

        low, high = bootstrap_interval(partial(uar_of_rows, answers, guesses), speakers, DEFAULT_SEED)
        labels = len(np.unique(answers))
        accuracies.append(
            Accuracy(
                corpus=name,
                metric="UAR",
                value=round(uar(answers, guesses), 4),
                chance=round(1 / labels, 4),
                protocol=(
                    f"{labels} labels, {len(part.clips)} whole clips of {len(set(speakers))} speakers never heard, "
                    f"95 % interval over speakers {low:.3f} to {high:.3f}"
                ),
            )
        )
    return tuple(accuracies)
