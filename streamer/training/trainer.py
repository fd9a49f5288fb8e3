"""Train a model: from corpora to a checkpoint, stage by stage (`streamer train`)."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from streamer.corpora.augment import babble_keys
from streamer.corpora.corpus import Clip, Corpus, clips_of
from streamer.corpora.splits import Split, check_no_leakage, pin_known_speakers, require_all_parts, split_speakers
from streamer.emotion.labels import LABELS
from streamer.errors import UsageError
from streamer.progress import Progress, Reporter
from streamer.training.batches import EpochBatches, draw_epoch
from streamer.training.early_stopping import should_stop
from streamer.training.export import EvaluatedModel, Provenance, export_checkpoint
from streamer.training.head import PooledWindows, fit_head
from streamer.training.learner import Learner, TrainingState, training_dtype
from streamer.training.neutral_mean import neutral_mean
from streamer.training.pooled_windows import PoolingPlan, pool_windows, pooled_store
from streamer.training.predict import ClipEncoder
from streamer.training.prepare import TrainingData, prepare_data
from streamer.training.recipe import Recipe
from streamer.training.run_folder import RunFolder
from streamer.training.speech_order import as_streams
from streamer.training.student import Student, initial_model
from streamer.training.teacher_targets import COMPONENTS
from streamer.training.threads import ahead, alone
from streamer.training.validation import WINDOWS_S, calibrate_windows


def open_run(
    work: Path,
    corpora: Sequence[Corpus],
    recipe: Recipe,
    split: Split | None = None,
    resume: bool = False,
    unlabelled: Sequence[Clip] = (),
) -> RunFolder:
    """Create a training run in `work`, or open the one there to resume it.

    Args:
        work: its folder; made if it is not there.
        corpora: the data.
        recipe: how to train; a resumed run keeps its own.
        split: the speakers of each part; None: drawn from the recipe's seed, but speakers that the model to start from
            knows keep their part, and the others of their corpus train. A resumed run keeps its own.
        resume: go on where the run in `work` stopped; otherwise it is replaced.
        unlabelled: speech of other people, from which the teacher's features are learned and nothing else.

    Raises:
        UsageError: there is nothing to resume, or it is damaged or of other corpora; a corpus is too small to split;
            there is unlabelled speech and no teacher, or it is of the corpora;
            the split has no speaker of a corpus in a part, or tests a speaker that the model to start from was trained
            on; or that model has other labels.
        CheckpointError: the model to start from cannot be read.
    """
    run = RunFolder.load(work, corpora, unlabelled) if resume else None
    if run is not None:
        recipe, split = run.recipe, run.split
    start = initial_model(recipe.start, len(LABELS))
    known = None if start.card is None else start.card.speakers
    split = split or pin_known_speakers(split_speakers(corpora, recipe.seed), known, "train")
    check_no_leakage(split, known, recipe.start)
    require_all_parts(corpora, split)
    if tuple(start.labels) != LABELS:
        raise UsageError(f"{recipe.start} has other labels than {', '.join(LABELS)}; start from another checkpoint.")
    _check_unlabelled(unlabelled, corpora, recipe)
    return run or RunFolder.create(work, corpora, recipe, split, unlabelled)


def _check_unlabelled(unlabelled: Sequence[Clip], corpora: Sequence[Corpus], recipe: Recipe) -> None:
    if unlabelled and not recipe.teachers:
        raise UsageError("From speech without labels only a teacher's features are learned; leave --no-teacher out.")
    known = {clip.path.resolve() for clip in clips_of(corpora)}
    twice = next((clip.path for clip in unlabelled if clip.path.resolve() in known), None)
    if twice is not None:
        raise UsageError(f"{twice} is one of the labelled recordings; speech without labels is of other people.")


def train(run: RunFolder, output: Path, device: torch.device, reporter: Reporter, workers: int = 0) -> Path:
    """Train one model in `run`, from its last completed epoch on, and write the checkpoint.

    Args:
        run: of `open_run`.
        output: the checkpoint's file.
        device: where to compute.
        reporter: takes the lines of the log, and shows progress.
        workers: processes that cut and augment windows; 0: none besides this one. On a CPU 0 is best.

    Returns:
        `output`.

    Raises:
        UsageError: the saved state is damaged, or a package is missing.
        StreamerError: a recording or the teacher cannot be read, or training diverged.
    """
    recipe = run.recipe
    learner = build_or_restore(run, device)
    data = prepare_data(run, learner, device, reporter.progress)
    encoder, state = learner.clip_encoder(data.load), learner.state

    while not should_stop(recipe, state):
        began = time.monotonic()
        with alone():
            losses = train_epoch(learner, data, recipe, reporter.progress, workers)
            uars = encoder.predict(run.corpora, data.validation).uars()
        is_best = state.record(sum(uars.values()) / len(uars), time.monotonic() - began, recipe.patience)
        if is_best:
            run.save_best(encoder.model)
        run.save(learner)
        _log(run, reporter, _epoch_line(state, losses, uars, recipe, is_best))

    run.load_best(encoder.model)
    if recipe.head_steps:
        windows = pool_head_windows(run, encoder, data, reporter.progress)
        fit_head(encoder.model, windows, recipe.head_steps, recipe.seed)
        uars = encoder.predict(run.corpora, data.validation).uars()
        _log(run, reporter, f"linear head refitted in {recipe.head_steps} steps  {_validation(uars)}")
    evaluated = evaluate_model(run, encoder, data, _notes(run, state))
    provenance = Provenance(run.corpora, run.split, encoder.model.card)
    return export_checkpoint(evaluated, provenance, output, lambda line: _log(run, reporter, line))


def build_or_restore(run: RunFolder, device: torch.device) -> Learner:
    """Build the student and its optimizers from the recipe, and restore the state that the run has saved."""
    torch.manual_seed(run.recipe.seed)
    model = initial_model(run.recipe.start, len(LABELS))
    recipe, teachers = run.recipe, max(1, len(run.recipe.teachers))
    widths = teachers * COMPONENTS, teachers * len(run.corpora)
    student = Student(model, *widths, recipe.tune, recipe.dropout).to(device)
    learner = Learner.new(student, run.recipe, training_dtype(device))
    run.restore(learner, device)
    return learner


def train_epoch(
    learner: Learner, data: TrainingData, recipe: Recipe, progress: Progress[Any], workers: int = 0
) -> Tensor:
    """Train one epoch, and return the mean of its losses (see `batch_losses`), `[5]`.

    All draws depend on the seed and the epoch's number alone: a resumed run goes on as if it had not been interrupted.
    """
    began, state = time.monotonic(), learner.state
    epoch_seed = [recipe.seed, state.epoch]
    torch.manual_seed(recipe.seed + state.epoch)
    clips = [*data.train, *data.unlabelled]
    keys = draw_epoch(clips, recipe.non_speech, np.random.default_rng(epoch_seed))
    keys, follows = as_streams(keys, clips, recipe.batch_size, recipe.restarts, np.random.default_rng(epoch_seed))
    batches = EpochBatches(data.windows, keys, recipe.batch_size, epoch_seed, follows)
    loader = DataLoader(batches, batch_size=None, num_workers=workers)
    device = next(learner.student.parameters()).device
    weights = torch.tensor(recipe.weights.in_order()).to(device)
    learner.student.train()
    learner.lstm_state = None
    totals = torch.zeros(len(weights))
    numbers = progress(range(len(batches)), f"epoch {state.epoch + 1}")
    for number, batch in zip(numbers, ahead(loader), strict=True):
        done = (state.epoch + number / len(batches)) / recipe.epochs
        if recipe.minutes is not None:  # epochs or minutes, whichever ends first
            done = max(done, (state.seconds + time.monotonic() - began) / (60 * recipe.minutes))
        learner.set_rates(done)
        totals += learner.step(batch.to(device), weights, recipe.mixup).cpu()
    return totals / len(batches)


def pool_head_windows(
    run: RunFolder, encoder: ClipEncoder, data: TrainingData, progress: Progress[Any]
) -> PooledWindows:
    """Pool windows of the training clips for `fit_head`."""
    recipe = run.recipe
    store = pooled_store(run.path, encoder.model, recipe, data.train, babble_keys(data.train))
    plan = PoolingPlan(recipe.seed, recipe.non_speech)
    return pool_windows(encoder, data.head_windows, data.train, plan, store, progress)


def evaluate_model(run: RunFolder, encoder: ClipEncoder, data: TrainingData, notes: str) -> EvaluatedModel:
    """Calibrate the finished model on the validation speakers, and score it on the test speakers."""
    validation = encoder.predict_windows(run.corpora, data.validation, WINDOWS_S)
    return EvaluatedModel(
        model=encoder.model,
        calibrations=calibrate_windows(validation),
        tested=encoder.predict(run.corpora, data.test),
        neutral_mean=neutral_mean(encoder, data.train),
        notes=notes,
    )


def _notes(run: RunFolder, state: TrainingState) -> str:
    """Describe the training for the checkpoint's card; paths are left out."""
    recipe = run.recipe
    return (
        f"Started from {Path(recipe.start).name}, trained {recipe.tune}, "
        f"{_teachers_of(recipe)}, {_unlabelled_of(run)}"
        f"{'the head refitted on labels alone, ' if recipe.head_steps else ''}"
        f"{state.best_epoch} epochs, seed {recipe.seed}, split seed {run.split.seed}. "
        "Speakers of training, validation and test differ. "
        "Acted speech: how people sound when they act an emotion, not what a person feels."
    )


def _teachers_of(recipe: Recipe) -> str:
    names = " and ".join(Path(one).name for one in recipe.teachers)
    return f"with the teacher{'s' if len(recipe.teachers) > 1 else ''} {names}" if names else "on labels alone"


def _unlabelled_of(run: RunFolder) -> str:
    """Name the speech without labels that the teachers' features were also learned from."""
    names = ", ".join(sorted({clip.corpus for clip in run.unlabelled}))
    return f"its features learned also from {len(run.unlabelled):,} recordings without labels ({names}), " * bool(names)


def _epoch_line(state: TrainingState, losses: Tensor, uars: dict[str, float], recipe: Recipe, is_best: bool) -> str:
    frames, descriptors, utterance, soft_labels, labels = losses.tolist()
    of_teacher = f"teacher {frames:.3f} {utterance:.3f} {soft_labels:.3f}  " if recipe.teacher else ""
    of_descriptors = f"descriptors {descriptors:.3f}  " if recipe.weights.descriptors else ""
    mark = "  best" if is_best and recipe.patience else ""
    return (
        f"epoch {state.epoch}  loss {of_teacher}{of_descriptors}labels {labels:.3f}  {_validation(uars)}"
        f"  {state.seconds:.0f} s{mark}"
    )


def _validation(uars: dict[str, float]) -> str:
    return "validation UAR " + "  ".join(f"{name} {value:.3f}" for name, value in uars.items())


def _log(run: RunFolder, reporter: Reporter, line: str) -> None:
    reporter.log(line)
    run.log(line)
