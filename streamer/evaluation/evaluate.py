"""Evaluate a checkpoint on speakers that it was not trained on: `streamer evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamer.codec.device import choose_device
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Corpus, read_corpus
from streamer.corpora.splits import (
    Split,
    check_no_leakage,
    known_speakers,
    pin_known_speakers,
    read_split,
    speakers_known_to,
    split_speakers,
)
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import CheckpointCard
from streamer.emotion.labels import LABELS
from streamer.errors import UsageError
from streamer.evaluation.context import Context
from streamer.evaluation.cross_validation import Folds, folds_per_checkpoint, merge_folds
from streamer.evaluation.false_alarms import recordings_in
from streamer.evaluation.measurements import MEASUREMENTS
from streamer.evaluation.options import EvaluationOptions
from streamer.evaluation.results import CorpusResult, Evaluation
from streamer.evaluation.whole_clips import pool_clips, score_clips
from streamer.progress import Log, Progress
from streamer.training.teacher import WhisperTeacher


def evaluate(
    checkpoint: str | Path,
    corpora: Sequence[Corpus],
    options: EvaluationOptions,
    work: Path,
    log: Log,
    progress: Progress[Any],
) -> Evaluation:
    """Measure a checkpoint: whole clips under the protocol, then the optional measurements.

    Args:
        checkpoint: `bundled`, `measured` or a path.
        corpora: data to measure on.
        options: what to measure, and how much.
        work: folder of decoded audio, pooled clips and the baselines' features; a training's folder may be used.
        log: takes one line at a time.
        progress: shows the progress of a loop.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        UsageError: the checkpoint has other labels, a checkpoint of --also does not record its speakers, a corpus is
            too small to split or has no test speaker, the split tests a speaker that the checkpoint knows, a
            recording without speech does not exist, or the teacher's file is not one.
        StreamerError: a recording cannot be read.
    """
    context = _prepare(str(checkpoint), tuple(corpora), options, work, progress)
    evaluation = Evaluation(
        checkpoint=context.checkpoint,
        model=context.card.name,
        sha256=context.model.sha256 or "",
        protocol=options.protocol,
        also=tuple(model.card.name for model in context.models[1:] if model.card is not None),
        seed=context.split.seed,
        window_s=context.card.window_s,
        temperature=context.calibration.temperature,
        threshold=context.calibration.threshold,
        corpora=tuple(_score(corpus, context, log) for corpus in corpora),
    )
    for measurement in MEASUREMENTS:
        if measurement.wanted(options):
            evaluation = measurement.run(context, evaluation)
    return evaluation


def _prepare(
    checkpoint: str, corpora: tuple[Corpus, ...], options: EvaluationOptions, work: Path, progress: Progress[Any]
) -> Context:
    """Check everything that can be checked before an hour of measuring, and decode the clips."""
    model = EmotionDetectionModel.from_checkpoint(checkpoint).to(choose_device(options.device))
    card = model.card
    assert card is not None, "a loaded model has a card"
    if model.labels != LABELS:
        raise UsageError(f"{checkpoint} has other labels than {', '.join(LABELS)}; evaluate another checkpoint.")
    split = _choose_split(corpora, options, card)
    for path in (*options.without_voice, *options.natural):
        recordings_in(path)
    for path in options.foreign:
        read_corpus(path)
    teacher = None if options.teacher is None else WhisperTeacher.load(options.teacher)
    models = (model, *_load_further(options))
    known = [known_speakers(one.card.speakers) for one in models if one.card is not None]
    folds = {
        corpus.name: folds_per_checkpoint(corpus, options.protocol, split, options.folds, known) for corpus in corpora
    }
    audio = AudioStore(work)
    for per_checkpoint in folds.values():
        _decode(merge_folds(per_checkpoint), options, audio, progress)
    rng = np.random.default_rng(options.seed)
    return Context(checkpoint, models, card, corpora, split, folds, options, audio, work, teacher, rng, progress)


def _choose_split(corpora: Sequence[Corpus], options: EvaluationOptions, card: CheckpointCard) -> Split:
    """Return the holdout split: that of the options, or the seed's with the speakers known to the checkpoint pinned."""
    if options.split is None:
        split = pin_known_speakers(split_speakers(corpora, options.seed), card.speakers, "test")
    else:
        split = read_split(options.split)
    check_no_leakage(split, card.speakers, card.name)
    for corpus in corpora:
        if not split.select(corpus.clips, "test"):
            raise UsageError(
                f"No speaker of {corpus.name} is left to test: the split has none, or {card.name} was trained on all "
                "of them; evaluate measured in place of bundled, use the split of the same corpora, or add speakers."
            )
    return split


def _load_further(options: EvaluationOptions) -> list[EmotionDetectionModel]:
    """Load the checkpoints of --also, which must record their speakers."""
    models = []
    for path in options.also:
        model = EmotionDetectionModel.from_checkpoint(path).to(choose_device(options.device))
        speakers_known_to(model.card, path)
        models.append(model)
    return models


def _decode(folds: Folds, options: EvaluationOptions, audio: AudioStore, progress: Progress[Any]) -> None:
    """Decode the tested clips, and those that a classifier or a baseline is trained on."""
    trains = options.peers or options.protocol != "holdout"
    audio.prepare(folds.clips if trains else [folds.clips[row] for row in folds.tested], progress)


def _score(corpus: Corpus, context: Context, log: Log) -> CorpusResult:
    """Score the whole clips of one corpus."""
    options, per_checkpoint = context.options, context.folds[corpus.name]
    folds = merge_folds(per_checkpoint)
    clips = context.test_clips(corpus) if options.protocol == "holdout" else folds.clips
    pooled = [
        pool_clips(model, context.audio, corpus, clips, context.work, context.progress) for model in context.models
    ]
    measures = score_clips(
        context.model, corpus, per_checkpoint, pooled, context.calibration, options.protocol, options.seed
    )
    log(f"{corpus.name}: UAR {measures.uar:.3f} ({measures.interval[0]:.3f} to {measures.interval[1]:.3f})")
    speakers = tuple(sorted({folds.clips[row].speaker for row in folds.tested}))
    return CorpusResult(corpus.name, corpus.labels, speakers, measures)
