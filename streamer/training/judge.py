"""Who says how long a training goes on and what its model is worth: speakers left out, or a run that left them out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from streamer.emotion.card import Accuracy, Calibration, CheckpointCard
from streamer.training.calibration import choose_threshold, fit_temperature, probabilities
from streamer.training.metrics import bootstrap_interval, uar, uar_of_rows
from streamer.training.predict import Predictions
from streamer.training.recipe import Recipe
from streamer.training.run import RunState
from streamer.training.splits import DEFAULT_SEED, PARTS, Part, speaker_of

if TYPE_CHECKING:
    from streamer.training.train import Trainer

WINDOWS_S = (1.0, 2.0, 3.0, 5.0)  # lengths that are calibrated


@dataclass(frozen=True, slots=True)
class Worth:
    """What the card says of a model's answers."""

    calibrations: tuple[Calibration, ...]
    accuracy: tuple[Accuracy, ...]
    notes: str


class Judge(Protocol):
    """Asked after every epoch, and at the end."""

    @property
    def parts(self) -> Sequence[Part]:
        """The parts of the split that must have speakers of every corpus."""

    def score(self, trainer: "Trainer") -> tuple[float, str]:
        """How good the kept weights are, larger is better, and that in words."""

    def is_over(self, recipe: Recipe, state: RunState) -> bool:
        """Whether no further epoch is wanted."""

    def worth(self, trainer: "Trainer") -> Worth:
        """Of the finished model."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Validation speakers say how long, and how sure the answers are; test speakers say how good they are."""

    @property
    def parts(self) -> Sequence[Part]:
        """See `Judge.parts`."""
        return PARTS

    def score(self, trainer: "Trainer") -> tuple[float, str]:
        """See `Judge.score`: the mean of the corpora's UAR."""
        uars = trainer.validate()[0].uars()
        heard = "  ".join(f"{name} {value:.3f}" for name, value in uars.items())
        return sum(uars.values()) / len(uars), f"  validation UAR {heard}"

    def is_over(self, recipe: Recipe, state: RunState) -> bool:
        """See `Judge.is_over`: the recipe's end, or no better validation for as long as its patience lasts."""
        late = recipe.minutes is not None and state.seconds >= 60 * recipe.minutes
        stale = state.epoch - state.best_epoch >= recipe.patience
        return state.epoch > 0 and (late or stale or state.epoch >= recipe.epochs)

    def worth(self, trainer: "Trainer") -> Worth:
        """See `Judge.worth`."""
        calibrations = tuple(
            calibrate(predictions, window_s)
            for predictions, window_s in zip(trainer.validate(WINDOWS_S), WINDOWS_S, strict=True)
        )
        recipe = trainer.recipe
        notes = (
            f"Started from {recipe.start}, trained {recipe.tune}, "
            f"{'with the teacher ' + Path(recipe.teacher).name if recipe.teacher else 'on labels alone'}, "
            f"{trainer.state.best_epoch} epochs, seed {recipe.seed}, split seed {trainer.split.seed}. "
            "Speakers of training, validation and test differ. "
            "Acted speech: how people sound when they act an emotion, not what a person feels."
        )
        return Worth(calibrations, measure(trainer.test()[0]), notes)


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """A run that left speakers out says everything; the model that hears all of them takes it over."""

    card: CheckpointCard  # of the checkpoint that the run made
    epochs: int  # of its best epoch

    @property
    def parts(self) -> Sequence[Part]:
        """See `Judge.parts`."""
        return ("train",)

    def score(self, trainer: "Trainer") -> tuple[float, str]:
        """See `Judge.score`: the last epoch counts."""
        return float(trainer.state.epoch + 1), ""

    def is_over(self, recipe: Recipe, state: RunState) -> bool:
        """See `Judge.is_over`."""
        return state.epoch >= self.epochs

    def worth(self, trainer: "Trainer") -> Worth:
        """See `Judge.worth`."""
        name = self.card.name
        accuracy = tuple(
            replace(one, protocol=f"{one.protocol}; measured on {name}, the same training without these speakers")
            for one in self.card.accuracy
        )
        notes = (
            f"Trained on all {len(trainer.split.train)} speakers as {name} was on some, every choice, temperature and "
            f"threshold taken from there; nobody is left to measure this model itself. Of {name}: {self.card.notes}"
        )
        return Worth(self.card.calibrations, accuracy, notes)


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
