"""The optional measurements of an evaluation, each a function that adds its results.

Windows in the worker, voice profiles, robustness and precision use the test speakers of the holdout split and the
checkpoint's own classifier under every protocol, whatever further checkpoints are tested on whole clips.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip, Corpus
from streamer.corpora.splits import Split
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.card import Calibration, CheckpointCard
from streamer.evaluation.baselines import evaluate_baselines
from streamer.evaluation.cross_validation import Folds, merge_folds
from streamer.evaluation.false_alarms import measure_false_alarms
from streamer.evaluation.options import EvaluationOptions
from streamer.evaluation.precision import measure_precisions
from streamer.evaluation.results import CorpusResult, Evaluation
from streamer.evaluation.robustness import measure_robustness
from streamer.evaluation.through_worker import WorkerHarness, stream_clips
from streamer.evaluation.voice_profiles import measure_voice_profiles
from streamer.evaluation.whole_clips import pool_clips
from streamer.progress import Progress
from streamer.training.teacher import WhisperTeacher


@dataclass(frozen=True)
class Context:
    """Holds what the measurements share."""

    checkpoint: str
    models: tuple[EmotionDetectionModel, ...]  # the checkpoint, then those of --also
    card: CheckpointCard  # of the checkpoint
    corpora: tuple[Corpus, ...]
    split: Split
    folds: dict[str, list[Folds]]  # by corpus, of each model
    options: EvaluationOptions
    audio: AudioStore
    work: Path
    teacher: WhisperTeacher | None
    rng: np.random.Generator  # draws clips, in the order of the measurements
    progress: Progress[Any]

    @property
    def model(self) -> EmotionDetectionModel:
        """The checkpoint's model."""
        return self.models[0]

    @property
    def calibration(self) -> Calibration:
        """Temperature and threshold at the card's window."""
        return self.card.calibration_for(self.card.window_s)

    @cached_property
    def harness(self) -> WorkerHarness:
        """The checkpoint in the worker."""
        return WorkerHarness(self.checkpoint, self.card, self.options.device, self.options.threads)

    def test_clips(self, *corpora: Corpus) -> list[Clip]:
        """Return the clips of the split's test speakers."""
        return [clip for corpus in corpora for clip in self.split.select(corpus.clips, "test")]

    def draw(self, clips: Sequence[Clip], count: int) -> list[Clip]:
        """Draw up to `count` clips; their order stays."""
        return [clips[place] for place in sorted(self.rng.permutation(len(clips))[:count])]


@dataclass(frozen=True)
class Measurement:
    """One optional measurement."""

    name: str  # the field of Evaluation or CorpusResult that it fills
    wanted: Callable[[EvaluationOptions], bool]
    run: Callable[[Context, Evaluation], Evaluation]  # returns the evaluation with its results added


def _for_each_corpus(
    evaluation: Evaluation, context: Context, add: Callable[[Corpus, CorpusResult], CorpusResult]
) -> Evaluation:
    corpora = tuple(map(add, context.corpora, evaluation.corpora))
    return replace(evaluation, corpora=corpora)


def _worker_windows(context: Context, evaluation: Evaluation) -> Evaluation:
    options = context.options

    def add(corpus: Corpus, result: CorpusResult) -> CorpusResult:
        clips = context.draw(context.test_clips(corpus), options.live_clips)
        threshold = context.calibration.threshold
        live = stream_clips(context.harness, context.audio, corpus, clips, threshold, options.seed, context.progress)
        return replace(result, live=live)

    return _for_each_corpus(evaluation, context, add)


def _voice_profiles(context: Context, evaluation: Evaluation) -> Evaluation:
    model, audio, progress = context.model, context.audio, context.progress

    def add(corpus: Corpus, result: CorpusResult) -> CorpusResult:
        pooled = pool_clips(model, audio, corpus, context.test_clips(corpus), context.work, progress)
        effect = measure_voice_profiles(model, audio, corpus, pooled, context.options.seed, progress)
        return replace(result, calibrated=effect)

    return _for_each_corpus(evaluation, context, add)


def _baselines(context: Context, evaluation: Evaluation) -> Evaluation:
    def add(corpus: Corpus, result: CorpusResult) -> CorpusResult:
        folds, seed = merge_folds(context.folds[corpus.name]), context.options.seed
        peers = evaluate_baselines(context.audio, folds, context.work, seed, context.progress, context.teacher)
        return replace(result, peers=peers)

    return _for_each_corpus(evaluation, context, add)


def _robustness(context: Context, evaluation: Evaluation) -> Evaluation:
    corpora, options = context.corpora, context.options
    clips = context.draw(context.test_clips(*corpora), options.robustness_clips)
    robustness = measure_robustness(
        context.model, context.audio, corpora, context.split, clips, options.seed, context.progress
    )
    return replace(evaluation, robustness=robustness)


def _false_alarms(context: Context, evaluation: Evaluation) -> Evaluation:
    options = context.options
    alarms = measure_false_alarms(
        context.harness, options.noise_minutes, options.without_voice, options.seed, context.progress
    )
    return replace(evaluation, false_alarms=alarms)


def _precisions(context: Context, evaluation: Evaluation) -> Evaluation:
    clips = context.test_clips(*context.corpora)
    context.audio.prepare(clips, context.progress)
    effects = measure_precisions(context.model.cpu(), context.audio, context.corpora, clips, context.progress)
    return replace(evaluation, precisions=effects)


MEASUREMENTS = (
    Measurement("live", lambda options: options.live_clips > 0, _worker_windows),
    Measurement("calibrated", lambda options: options.voices, _voice_profiles),
    Measurement("peers", lambda options: options.peers, _baselines),
    Measurement("robustness", lambda options: options.robustness_clips > 0, _robustness),
    Measurement(
        "false_alarms", lambda options: options.noise_minutes > 0 or bool(options.without_voice), _false_alarms
    ),
    Measurement("precisions", lambda options: options.precisions, _precisions),  # last: it moves the model to the CPU
)
