"""`streamer train`: from corpora to a checkpoint."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from rich.progress import track

from streamer.codec.device import choose_device
from streamer.corpora.corpus import read_corpora
from streamer.corpora.splits import describe_split, fold_speakers, read_split
from streamer.errors import UsageError
from streamer.training.recipe import Recipe
from streamer.training.refit_head import refit_head
from streamer.training.trainer import Trainer

T = TypeVar("T")


def run_training(
    paths: Sequence[Path],
    recipe: Recipe,
    *,
    output: Path,
    work: Path,
    resume: bool = False,
    device: str = "auto",
    threads: int | None = None,
    workers: int | None = None,
    split: Path | None = None,
    fold: tuple[int, int] | None = None,
    final: str | None = None,
) -> None:
    """Train, and write a checkpoint with its card to `output`; Ctrl-C loses the epoch under way and nothing else, but all
    of a final fit.

    Args:
        paths: folders of corpora, or CSV files.
        recipe: how to train; what `work` holds counts instead when resuming.
        output: where the checkpoint goes.
        work: a folder for stores and state.
        resume: go on where a run in `work` stopped.
        device: auto, cpu, cuda or mps.
        threads: of the CPU; torch's choice if None.
        workers: processes that cut windows; None: all processors but one beside a GPU, and none without.
        split: the speakers of each part, a `split.json` or a checkpoint with them; None: from the seed.
        fold: which of how many, in place of a split: see `fold_speakers`.
        final: a checkpoint whose encoder stays, while its classifier learns anew from all speakers: see `refit_head`.

    Raises:
        StreamerError: see `streamer.training.trainer.Trainer` and `streamer.corpora.corpus.read_corpora`.
    """
    if not paths:
        raise UsageError("There is nothing to train on; give folders of corpora, or CSV files of path,label,speaker.")
    if final is not None and (split, fold) != (None, None):
        raise UsageError("A final fit trains on everyone, whatever the split; leave --split, --folds or --final out.")
    if split is not None and fold is not None:
        raise UsageError("A split says already who is tested; leave --split or --folds out.")
    if final is not None and resume:
        raise UsageError("A final fit begins anew each time; leave --resume out.")
    if final is not None and output.resolve() == Path(final).resolve():
        raise UsageError(f"The final fit would overwrite {final}, which it begins with; give another --output.")
    if threads is not None:
        torch.set_num_threads(threads)
    corpora = read_corpora(paths)
    chosen = torch.device(choose_device(device))
    if final is not None:
        refit_head(corpora, recipe, final, work, output, chosen, print, show_progress)
        return
    if workers is None:
        workers = (os.cpu_count() or 2) - 1 if chosen.type == "cuda" else 0
    parts = None if split is None else read_split(split)
    if fold is not None:
        parts = fold_speakers(corpora, *fold, recipe.seed)
    trainer = Trainer(corpora, recipe, work, resume, chosen, print, workers, parts)
    print(describe_split(trainer.split, corpora))
    trainer.prepare(show_progress)
    trainer.run(output, show_progress)


def show_progress(items: Sequence[T], what: str) -> Iterable[T]:
    """Goes through `items` under a progress bar; under none where there is nothing to do."""
    return track(items, description=what) if len(items) else items
