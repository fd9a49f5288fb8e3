"""The measurements on streams: of test speakers, of foreign corpora, of natural speech, under changed conditions."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from streamer.arrays import Samples
from streamer.corpora.augment import Generator, band_limit, colored_noise, gain, generator, mix, room
from streamer.corpora.codecs import telephone
from streamer.corpora.corpus import Clip, Corpus, read_corpus
from streamer.corpora.splits import known_speakers
from streamer.corpora.streams import JoinedStream, evaluation_streams, followed_by
from streamer.decoding.files import read_recording
from streamer.errors import StreamerError, UsageError
from streamer.evaluation.context import Context
from streamer.evaluation.false_alarms import recordings_in
from streamer.evaluation.results import CorpusResult, Evaluation
from streamer.evaluation.streams import (
    ConditionFigures,
    StreamFigures,
    compare_condition,
    measure_natural,
    measure_streams,
    run_streams,
)
from streamer.events import Event

FOUR = ("neutral", "happy", "sad", "angry")  # that most corpora of the world have
_PIECE_S = 120  # recordings of natural speech that are shorter are joined up to this length

Change = Callable[[Samples, Generator], Samples]


def _far_field(audio: Samples, rng: Generator) -> Samples:
    distant = room(audio, rng, decay_s=0.6)
    return mix(distant, colored_noise(len(audio), "pink", rng), snr_db=15.0)


CONDITIONS: dict[str, Change] = {
    "telephone, 8 kHz": lambda audio, rng: telephone(band_limit(audio, 300, 3400)),
    "room, T60 0.5 s": lambda audio, rng: room(audio, rng, decay_s=0.5),
    "far field, T60 0.6 s, 15 dB": _far_field,
    "+20 dB": lambda audio, rng: np.clip(gain(audio, 20.0), -1, 1),
    "-20 dB": lambda audio, rng: gain(audio, -20.0),
}


def measure_corpus_streams(context: Context, evaluation: Evaluation) -> Evaluation:
    """Measure streams of each corpus's test speakers, and what a change of speaker and of condition does to them."""

    def add(corpus: Corpus, result: CorpusResult) -> CorpusResult:
        streams = _streams(context, context.test_clips(corpus))
        events = _run(context, streams, f"streams of {corpus.name}")
        result = replace(result, streams=_measured(context, streams, events, corpus.labels))
        if context.options.conditions:
            result = replace(result, conditions=_conditions(context, streams, events, corpus.name))
        after = [
            followed_by(before, stream)
            for before, stream in zip([*streams[-1:], *streams], streams, strict=False)
            if before.speaker_id != stream.speaker_id
        ]
        events = _run(context, after, f"changes of speaker in {corpus.name}")
        return replace(result, speaker_change=_measured(context, after, events, corpus.labels))

    return replace(evaluation, corpora=tuple(map(add, context.corpora, evaluation.corpora)))


def measure_foreign(context: Context, evaluation: Evaluation) -> Evaluation:
    """Measure streams of corpora that no model was trained on, with the four emotions that they share.

    Raises:
        UsageError: the checkpoint was trained on one of their speakers.
    """
    results: dict[str, StreamFigures] = {}
    for path in context.options.foreign:
        corpus = read_corpus(path)
        known = known_speakers(context.card.speakers) & {clip.speaker_id for clip in corpus.clips}
        if known:
            raise UsageError(f"{context.card.name} was trained on {min(known)}; --foreign takes what it has not heard.")
        clips = [clip for clip in corpus.clips if clip.label in FOUR]
        context.audio.prepare(clips, context.progress)
        streams = _streams(context, clips)
        figures = _measured(context, streams, _run(context, streams, f"streams of {corpus.name}"), FOUR)
        if figures is not None:
            results[corpus.name] = figures
    return replace(evaluation, foreign=results)


def measure_natural_speech(context: Context, evaluation: Evaluation) -> Evaluation:
    """Count what starts in recordings of natural speech; short ones of a folder follow one another."""
    results = {}
    for path in context.options.natural:
        recordings = _joined(_sounding(recordings_in(path)))
        events = run_streams(context.harness, recordings, context.progress, f"listening to {path.stem}")
        results[path.stem if path.stem not in results else str(path)] = measure_natural(recordings, events)
    return replace(evaluation, natural=results)


def _sounding(files: Sequence[Path]) -> list[Samples]:
    """Read recordings; those that hold no sound at all say nothing, and are left out.

    Raises:
        StreamerError: none of them holds any.
    """
    heard: list[Samples] = []
    problem: StreamerError | None = None
    for file in files:
        try:
            heard.append(read_recording(file).samples)
        except StreamerError as error:
            problem = error
    if not heard and problem is not None:
        raise problem
    return heard


def _streams(context: Context, clips: Sequence[Clip]) -> list[JoinedStream]:
    audio = {clip.key: context.audio[clip.key] for clip in clips}
    return evaluation_streams(clips, audio, context.options.streams, context.options.seed)


def _run(context: Context, streams: Sequence[JoinedStream], what: str) -> list[list[Event]]:
    return run_streams(context.harness, [stream.samples for stream in streams], context.progress, what)


def _measured(
    context: Context, streams: Sequence[JoinedStream], events: Sequence[Sequence[Event]], labels: Sequence[str]
) -> StreamFigures | None:
    return measure_streams(streams, events, labels, context.calibration.threshold, context.options.seed)


def _conditions(
    context: Context, streams: Sequence[JoinedStream], clean: Sequence[Sequence[Event]], corpus: str
) -> dict[str, ConditionFigures]:
    """Compare one stream of each speaker under each of CONDITIONS with itself."""
    first = list(range(0, len(streams), context.options.streams))
    figures = {}
    for name, change in CONDITIONS.items():
        changed = [
            change(streams[place].samples, generator(context.options.seed, 0, f"{name}/{corpus}/{place}"))
            for place in first
        ]
        events = run_streams(context.harness, changed, context.progress, f"{corpus}, {name}")
        figures[name] = compare_condition([clean[place] for place in first], events)
    return figures


def _joined(recordings: Sequence[Samples]) -> list[Samples]:
    """Join recordings, in their order, to streams of at least two minutes, as far as they reach."""
    joined: list[list[Samples]] = [[]]
    for recording in recordings:
        if sum(map(len, joined[-1])) >= _PIECE_S * 24_000:
            joined.append([])
        joined[-1].append(recording)
    return [np.concatenate(parts) for parts in joined if parts]
