"""The optional measurements of an evaluation, each a function that adds its results.

Windows in the worker, voice profiles, robustness and precision use the test speakers of the holdout split and the
checkpoint's own classifier under every protocol, whatever further checkpoints are tested on whole clips.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from streamer.corpora.corpus import Corpus
from streamer.evaluation.baselines import evaluate_baselines
from streamer.evaluation.context import Context
from streamer.evaluation.cross_validation import merge_folds
from streamer.evaluation.false_alarms import Harnesses, measure_false_alarms
from streamer.evaluation.options import EvaluationOptions
from streamer.evaluation.precision import measure_precisions
from streamer.evaluation.results import CorpusResult, Evaluation
from streamer.evaluation.robustness import measure_robustness
from streamer.evaluation.stream_measurements import measure_corpus_streams, measure_foreign, measure_natural_speech
from streamer.evaluation.through_worker import stream_clips
from streamer.evaluation.voice_profiles import measure_voice_profiles
from streamer.evaluation.whole_clips import pool_clips


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
    harnesses = Harnesses(context.harness, context.ungated_harness)
    alarms = measure_false_alarms(
        harnesses, options.noise_minutes, options.without_voice, options.seed, context.progress
    )
    return replace(evaluation, false_alarms=alarms)


def _precisions(context: Context, evaluation: Evaluation) -> Evaluation:
    clips = context.test_clips(*context.corpora)
    context.audio.prepare(clips, context.progress)
    effects = measure_precisions(context.model.cpu(), context.audio, context.corpora, clips, context.progress)
    return replace(evaluation, precisions=effects)


MEASUREMENTS = (
    Measurement("streams", lambda options: options.streams > 0, measure_corpus_streams),
    Measurement("foreign", lambda options: bool(options.foreign), measure_foreign),
    Measurement("natural", lambda options: bool(options.natural), measure_natural_speech),
    Measurement("live", lambda options: options.live_clips > 0, _worker_windows),
    Measurement("calibrated", lambda options: options.voices, _voice_profiles),
    Measurement("peers", lambda options: options.peers, _baselines),
    Measurement("robustness", lambda options: options.robustness_clips > 0, _robustness),
    Measurement(
        "false_alarms", lambda options: options.noise_minutes > 0 or bool(options.without_voice), _false_alarms
    ),
    Measurement("precisions", lambda options: options.precisions, _precisions),  # last: it moves the model to the CPU
)
