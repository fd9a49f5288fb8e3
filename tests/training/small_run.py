"""A training run that is small enough for a test."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from streamer.corpora.corpus import Clip, read_corpora
from streamer.corpora.splits import Split
from streamer.progress import Reporter
from streamer.training.learner import Learner
from streamer.training.prepare import TrainingData, prepare_data
from streamer.training.recipe import Recipe
from streamer.training.run_folder import RunFolder
from streamer.training.trainer import build_or_restore, open_run

QUICK = Recipe(
    start="measured",
    tune="upper",
    teacher=None,
    epochs=1,
    batch_size=4,
    versions=2,
    window_s=0.3,
    non_speech=0.2,
    head_steps=5,
)
CPU = torch.device("cpu")


def silent(items: Any, what: str) -> Any:
    """Iterate without a progress bar."""
    return items


QUIET = Reporter(lambda line: None, silent)


def opened(
    corpus: Path,
    work: Path,
    recipe: Recipe = QUICK,
    split: Split | None = None,
    resume: bool = False,
    unlabelled: Sequence[Clip] = (),
) -> RunFolder:
    """Create or resume a run on one corpus."""
    return open_run(work, read_corpora([corpus]), recipe, split, resume, unlabelled)


def prepared(
    corpus: Path, work: Path, recipe: Recipe = QUICK, split: Split | None = None
) -> tuple[RunFolder, Learner, TrainingData]:
    """Do all of a run that comes before its first epoch."""
    run = opened(corpus, work, recipe, split)
    learner = build_or_restore(run, CPU)
    return run, learner, prepare_data(run, learner, CPU, silent)
