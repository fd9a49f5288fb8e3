"""`streamer train`: train a model on corpora and write a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.commands.options import Corpora, Device, Threads, Work
from streamer.errors import UsageError
from streamer.training.tune import Tune

if TYPE_CHECKING:
    from streamer.corpora.corpus import Corpus
    from streamer.training.recipe import Recipe


def train(
    corpora: Corpora,
    output: Annotated[Path, typer.Option(help="Checkpoint to write.")] = Path("model.safetensors"),
    work: Work = Path("training-work"),
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in --work.")] = False,
    start: Annotated[
        str,
        typer.Option(
            help="Initial weights: bundled | measured | lower (bundled below 600 Hz, random above) | "
            "pretrained (Meta's) | random | a checkpoint | an encoder's weights."
        ),
    ] = "bundled",
    tune: Annotated[
        Tune,
        typer.Option(help="Train the head; or also the LSTM and what follows; or from the 600 Hz layers on; or all."),
    ] = "deep",
    teacher: Annotated[str | None, typer.Option(help="Teacher's file. Default: Whisper tiny.en, downloaded.")] = None,
    second_teacher: Annotated[
        str | None, typer.Option(help="File of another teacher besides, as Whisper base. Default: none.")
    ] = None,
    no_teacher: Annotated[
        bool, typer.Option("--no-teacher", help="Train on labels alone, without distillation.")
    ] = False,
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(
            help="Speech of other people to learn the teacher's features from, without labels: a recording, a folder, "
            "or a CSV file; repeatable. Default: none."
        ),
    ] = None,
    descriptors: Annotated[
        float, typer.Option(help="Loss weight of log-mel and eGeMAPS descriptors at every frame.")
    ] = 0.0,
    epochs: Annotated[int, typer.Option(help="Maximum number of epochs.")] = 40,
    patience: Annotated[
        int,
        typer.Option(help="Stop after this many epochs without improvement. 0: train all epochs and keep the last."),
    ] = 6,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after the epoch that is running at this wall time. Default: no limit.")
    ] = None,
    versions: Annotated[
        int, typer.Option(help="Versions of each clip, where convolutions are frozen or with --final.")
    ] = 4,
    batch_size: Annotated[int, typer.Option(help="Windows per optimizer step.")] = 32,
    window_s: Annotated[float, typer.Option(help="Window length in seconds.")] = 2.4,
    learning_rate: Annotated[float, typer.Option(help="Learning rate of the pooling and the classifier head.")] = 8e-4,
    encoder_learning_rate: Annotated[
        float | None,
        typer.Option(help="Learning rate of the encoder. Default: 6e-4, or 1e-5 for all of a trained encoder."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Random seed, for the speaker split and for training. Default: 20261122.")
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            help="Speaker split to use: a split.json, or a checkpoint whose split is reused. "
            "Default: drawn from --seed."
        ),
    ] = None,
    fold: Annotated[
        int,
        typer.Option(
            min=1, help="Which of --folds to test. 1 is the seed's split; the others test the other speakers."
        ),
    ] = 1,
    folds: Annotated[int, typer.Option(min=1, help="Number of splits that together test every speaker once.")] = 1,
    final: Annotated[
        str | None,
        typer.Option(
            help="measured | a checkpoint: keep its encoder and refit the classifier on all speakers. Only --versions, "
            "--seed, --work, --output, --device and --threads apply then. Default: off (train as usual)."
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Data loader processes. Default: one less than the processors on CUDA, else none."),
    ] = None,
) -> None:
    """Train an emotion model on labelled corpora.

    Splits are speaker-independent. An interrupted run resumes with --resume.

    \b
    Examples:
      streamer train CREMA-D RAVDESS --output mine.safetensors
      streamer train CREMA-D RAVDESS --final mine.safetensors --output final.safetensors
    """
    from streamer.corpora.splits import DEFAULT_SEED
    from streamer.training.losses import Weights
    from streamer.training.recipe import Recipe
    from streamer.training.teacher import DEFAULT_TEACHER

    recipe = Recipe(
        start=start,
        tune=tune,
        teacher=None if no_teacher else teacher or DEFAULT_TEACHER,
        second_teacher=second_teacher,
        epochs=epochs,
        patience=patience,
        minutes=minutes,
        versions=versions,
        batch_size=batch_size,
        window_s=window_s,
        learning_rate=learning_rate,
        encoder_learning_rate=encoder_learning_rate,
        weights=Weights(descriptors=descriptors),
        seed=DEFAULT_SEED if seed is None else seed,
    )
    options = TrainingOptions(
        output=output,
        work=work,
        resume=resume,
        device=device,
        threads=threads,
        workers=workers,
        split=split,
        fold=None if fold == folds == 1 else (fold, folds),
        final=final,
        unlabelled=tuple(unlabelled or ()),
    )
    run_training(corpora, recipe, options)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """Where a training writes and runs, and who is in which part of it. UsageError for what contradicts itself."""

    output: Path  # where the checkpoint goes
    work: Path  # a folder for stores and state
    resume: bool = False  # go on where a run in `work` stopped
    device: str = "auto"  # auto, cpu, cuda or mps
    threads: int | None = None  # of the CPU; None: torch's choice
    workers: int | None = (
        None  # processes that cut windows; None: all processors but one beside a GPU, and none without
    )
    split: Path | None = (
        None  # the speakers of each part, a `split.json` or a checkpoint with them; None: from the seed
    )
    fold: tuple[int, int] | None = None  # which of how many, in place of a split: see `fold_speakers`
    unlabelled: tuple[Path, ...] = ()  # speech to distil from alone
    final: str | None = None  # a checkpoint whose encoder stays, while its classifier is refitted: see `refit_head`

    def __post_init__(self) -> None:
        if self.final is not None:
            if (self.split, self.fold) != (None, None):
                raise UsageError("--final trains on all speakers; leave --split, --folds or --final out.")
            if self.unlabelled:
                raise UsageError("--final trains no encoder; leave --unlabelled out.")
            if self.resume:
                raise UsageError("--final starts anew each time; leave --resume out.")
            if self.output.resolve() == Path(self.final).resolve():
                raise UsageError(f"--final would overwrite {self.final}, which it starts from; give another --output.")
        if self.split is not None and self.fold is not None:
            raise UsageError("--split and --folds are mutually exclusive; give one of them.")


def run_training(paths: Sequence[Path], recipe: Recipe, options: TrainingOptions) -> None:
    """Train, and write a checkpoint with its card.

    Ctrl-C loses the epoch under way and nothing else, but all of a refit.

    Args:
        paths: corpus folders, or CSV files.
        recipe: how to train; the recipe in the work folder counts instead when resuming.
        options: see there.

    Raises:
        StreamerError: see `streamer.training.trainer` and `streamer.corpora.corpus.read_corpora`; another program works
            in the work folder; or, when all is written, a recording could not be read whole.
    """
    import torch

    from streamer.corpora.corpus import read_corpora
    from streamer.folder_claims import claimed_work
    from streamer.training.threads import keep_freed_memory

    if not paths:
        raise UsageError("There is nothing to train on; give corpus folders, or CSV files of path,label,speaker.")
    keep_freed_memory()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    corpora = read_corpora(paths)
    with claimed_work(options.work):
        _train(corpora, recipe, options)


def _train(corpora: Sequence[Corpus], recipe: Recipe, options: TrainingOptions) -> None:
    import os

    import torch

    from streamer.codec.device import choose_device
    from streamer.commands.progress_bars import show_progress
    from streamer.corpora.audio_store import require_whole
    from streamer.corpora.corpus import clips_of
    from streamer.corpora.splits import describe_split, fold_speakers, read_split
    from streamer.progress import Reporter
    from streamer.training.natural import natural_streams
    from streamer.training.refit_head import refit_head
    from streamer.training.trainer import open_run
    from streamer.training.trainer import train as train_model

    device, reporter = torch.device(choose_device(options.device)), Reporter(print, show_progress)
    if options.final is not None:
        refit_head(corpora, recipe, options.final, options.work, options.output, device, reporter)
        require_whole(options.work, clips_of(corpora))
        return
    workers = options.workers
    if workers is None:
        workers = (os.cpu_count() or 2) - 1 if device.type == "cuda" else 0
    parts = None if options.split is None else read_split(options.split)
    if options.fold is not None:
        parts = fold_speakers(corpora, *options.fold, recipe.seed)
    unlabelled = [clip for stream in natural_streams(options.unlabelled) for clip in stream]
    run = open_run(options.work, corpora, recipe, parts, options.resume, unlabelled)
    print(describe_split(run.split, corpora))
    if unlabelled:
        print(f"{len(unlabelled):,} recordings without labels, to distil from.")
    train_model(run, options.output, device, reporter, workers)
    require_whole(options.work, [*clips_of(corpora), *unlabelled])
