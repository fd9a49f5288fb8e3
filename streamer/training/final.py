"""The final fit: once a run has measured what a training is worth, the same on all speakers, the left-out ones too.

What is shipped may have heard everyone, for more speakers make a better model; what is said of it comes from the run that
left some out.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from streamer.emotion.checkpoint import load_checkpoint
from streamer.errors import UsageError
from streamer.training.corpora import Corpus
from streamer.training.judge import EarlierRun, LeftOut
from streamer.training.run import has_run, last_state, resumed
from streamer.training.splits import PARTS
from streamer.training.train import Log, Trainer

FOLDER = "final"  # in the run's work folder, for the state of the final fit


def final_fit(
    corpora: Sequence[Corpus], work: Path, made: Path, resume: bool, device: torch.device, log: Log, workers: int = 0
) -> Trainer:
    """A training on all speakers, with the recipe and for as many epochs as were best in the run in `work`.

    Args:
        corpora: those of the run.
        work: its folder; the stores in it serve, and its state stays.
        made: the checkpoint that it made, whose calibration and figures are taken over.
        resume: go on where an interrupted final fit stopped.
        device, log, workers: see `Trainer`.

    Raises:
        UsageError: there is no finished run in `work`, it learnt from other corpora, or it did not make `made`.
        CheckpointError: `made`, or what the run started from, cannot be read.
    """
    if not has_run(work):
        raise UsageError(f"There is no training in {work}; train without --final first.")
    recipe, split = resumed(corpora, work)
    state = last_state(work)
    if not LeftOut().is_over(recipe, state):
        raise UsageError(f"The training in {work} is not over; end it with --resume, then begin the final fit.")
    card = load_checkpoint(made).card
    if card.speakers is None or not all(
        set(getattr(split, part)) <= set(getattr(card.speakers, part)) for part in PARTS
    ):
        raise UsageError(f"{made} was not made by the training in {work}; give the checkpoint that it wrote.")
    if recipe.minutes is not None:  # its rates fell until the minutes were over
        recipe = replace(recipe, minutes=None, epochs=state.epoch)
    judge = EarlierRun(card, state.best_epoch)
    return Trainer(
        corpora, recipe, work / FOLDER, resume, device, log, workers, split.together(), judge=judge, stores=work
    )
