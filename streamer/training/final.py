"""The final fit: once a run has measured what a training is worth, the same on all speakers, the left-out ones too.

What is shipped may have heard everyone, for more speakers make a better model; what is said of it comes from the run that
left some out.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from streamer.emotion.card import CheckpointCard
from streamer.emotion.checkpoint import Checkpoint, load_checkpoint
from streamer.errors import UsageError
from streamer.training.corpora import Corpus
from streamer.training.judge import EarlierRun, LeftOut
from streamer.training.run import BEST, has_run, last_state, resumed
from streamer.training.splits import PARTS, Split
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
        UsageError: there is no finished run in `work`, it learnt from other corpora, or it did not make `made`; or the
            final fit to resume is of an earlier run.
        CheckpointError: `made`, or what the run started from, cannot be read.
    """
    if not has_run(work):
        raise UsageError(f"There is no training in {work}; train without --final first.")
    recipe, split = resumed(corpora, work, "train without --final first")
    state = last_state(work)
    if not LeftOut().is_over(recipe, state):
        raise UsageError(f"The training in {work} is not over; end it with --resume, then begin the final fit.")
    checkpoint = load_checkpoint(made)
    card = checkpoint.card
    if not (_tells(card, split) and _holds(checkpoint, work / BEST)):
        raise UsageError(f"{made} was not made by the training in {work}; give the checkpoint that it wrote.")
    if recipe.minutes is not None:  # the rates fell by epochs or by the clock, whichever was further
        gone = max(state.epoch / recipe.epochs, state.seconds / (60 * recipe.minutes))
        recipe = replace(recipe, minutes=None, epochs=max(state.epoch, round(state.epoch / gone)))
    everyone = split.together()
    if resume and resumed(corpora, work / FOLDER) != (recipe, everyone):
        raise UsageError(f"The final fit in {work / FOLDER} is of an earlier training; leave --resume out.")
    judge = EarlierRun(card, state.best_epoch)
    return Trainer(corpora, recipe, work / FOLDER, resume, device, log, workers, everyone, judge=judge, stores=work)


def _tells(card: CheckpointCard, split: Split) -> bool:
    """Whether a card knows the split's speakers in their parts."""
    known = card.speakers
    return known is not None and all(set(getattr(split, part)) <= set(getattr(known, part)) for part in PARTS)


def _holds(checkpoint: Checkpoint, best: Path) -> bool:
    """Whether a checkpoint holds a run's best weights; the classifier may have been settled since."""
    weights = torch.load(best, map_location="cpu", weights_only=True)
    return weights.keys() == checkpoint.tensors.keys() and all(
        torch.equal(weight.half().float(), checkpoint.tensors[name])
        for name, weight in weights.items()
        if not name.startswith("classifier.")
    )
