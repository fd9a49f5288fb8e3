"""Measure what a live user gets: streams of one speaker whose emotion changes, through the real worker.

A window counts for the label that covers at least two thirds of it, where it is full and has probabilities.
Predictions are among the corpus's labels; where a corpus has no `calm`, calm counts as neutral.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamer.arrays import Float64Array, Samples
from streamer.constants import SAMPLE_RATE
from streamer.corpora.streams import JoinedStream, Stretch
from streamer.emotion.labels import LABELS
from streamer.evaluation.through_worker import ROWS, WorkerHarness
from streamer.events import EmotionEnded, EmotionStarted, Event, Window
from streamer.progress import Progress
from streamer.training.metrics import Measures, measure

UNEMOTIONAL = ("neutral", "calm")
_CALM, _NEUTRAL = LABELS.index("calm"), LABELS.index("neutral")


@dataclass(frozen=True)
class StreamFigures:
    """Figures of the streams of one corpus."""

    streams: int
    minutes: float
    windows: Measures  # those of one label, with probabilities; predictions among the corpus's labels
    answered: float  # share of them that name a label, out of all eight
    answered_accuracy: float  # share of the named labels that are right; NaN without any
    neutral_claimed: float  # share of the neutral windows that name an emotion; NaN without any
    stretches: int  # emotional ones
    held_right: float  # share of them during which the right emotion is held
    held_wrong: float  # share of them during which other emotions are held, and the right one never
    delay_s: float  # from a stretch's begin to the right emotion's start, median; NaN without any
    neutral_starts: int  # emotions that start in neutral stretches
    neutral_hours: float

    @property
    def starts_per_hour(self) -> float:
        """Emotional starts an hour in neutral stretches; NaN without any."""
        return self.neutral_starts / self.neutral_hours if self.neutral_hours else float("nan")


@dataclass(frozen=True)
class NaturalFigures:
    """Figures of recordings in which nobody plays an emotion: what starts is a false alarm."""

    minutes: float
    started: int  # emotions, but for neutral and calm
    labels: dict[str, int]  # of what started
    neutral: float  # mean probability of neutral and calm in windows with probabilities
    claimed: float  # share of these that name an emotion

    @property
    def per_hour(self) -> float:
        """Emotional starts an hour."""
        return self.started * 60 / self.minutes


@dataclass(frozen=True)
class ConditionFigures:
    """What a changed recording does to the answers of the same windows."""

    windows: int  # with probabilities in both
    unchanged: float  # share of these with the same likeliest label
    answered: float  # share of these that name a label
    answered_before: float  # the same without the change
    answers_unchanged: float  # share of those that named a label before whose likeliest label is the same
    answers_turned: float  # share of those that named a label both times that name another one


@dataclass
class _Tally:
    """What is counted over several streams."""

    probs: list[Float64Array] = field(default_factory=list)  # [8] each
    targets: list[int] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)
    claims: list[str | None] = field(default_factory=list)  # by the same windows
    right: int = 0  # stretches
    wrong: int = 0
    stretches: int = 0
    delays_s: list[float] = field(default_factory=list)
    neutral_starts: int = 0
    neutral_samples: int = 0


def run_streams(
    harness: WorkerHarness, recordings: Sequence[Samples], progress: Progress[Any], what: str
) -> list[list[Event]]:
    """Return the worker's events of each recording `[T]`; they run a few at a time."""
    events: list[list[Event]] = []
    for first in progress(range(0, len(recordings), ROWS), what):
        events += harness.run(recordings[first : first + ROWS])
    return events


def measure_streams(
    streams: Sequence[JoinedStream],
    events: Sequence[Sequence[Event]],
    labels: Sequence[str],
    threshold: float,
    seed: int,
) -> StreamFigures | None:
    """Compare the worker's events of each stream with what is spoken; None if no window counts.

    Args:
        streams: what is spoken.
        events: the worker's, of each stream.
        labels: of the corpus.
        threshold: least probability, among the corpus's labels, for an answer to count in `windows.answered`.
        seed: of the bootstrap interval.
    """
    tally = _Tally()
    for stream, of_stream in zip(streams, events, strict=True):
        _count_windows(tally, stream, of_stream, labels)
        _count_stretches(tally, stream, of_stream)
    if not tally.probs:
        return None
    probs, targets = np.stack(tally.probs), np.array(tally.targets, dtype=np.int64)
    named = [(claim, target) for claim, target in zip(tally.claims, targets.tolist(), strict=True) if claim is not None]
    right = [claim == LABELS[target] for claim, target in named]
    neutral = [
        claim not in (None, *UNEMOTIONAL)
        for claim, target in zip(tally.claims, targets.tolist(), strict=True)
        if LABELS[target] in UNEMOTIONAL
    ]
    return StreamFigures(
        streams=len(streams),
        minutes=sum(len(stream.samples) for stream in streams) / SAMPLE_RATE / 60,
        windows=measure(probs, targets, tally.speakers, labels, threshold, seed),
        answered=len(named) / len(targets),
        answered_accuracy=_mean(right),
        neutral_claimed=_mean(neutral),
        stretches=tally.stretches,
        held_right=tally.right / max(1, tally.stretches),
        held_wrong=tally.wrong / max(1, tally.stretches),
        delay_s=float(np.median(tally.delays_s)) if tally.delays_s else float("nan"),
        neutral_starts=tally.neutral_starts,
        neutral_hours=tally.neutral_samples / SAMPLE_RATE / 3600,
    )


def measure_natural(recordings: Sequence[Samples], events: Sequence[Sequence[Event]]) -> NaturalFigures:
    """Count what the worker says of natural speech."""
    windows = [event for one in events for event in one if isinstance(event, Window) and event.probs is not None]
    starts = [event.label for one in events for event in one if isinstance(event, EmotionStarted)]
    emotional = [label for label in starts if label not in UNEMOTIONAL]
    return NaturalFigures(
        minutes=sum(map(len, recordings)) / SAMPLE_RATE / 60,
        started=len(emotional),
        labels={label: emotional.count(label) for label in sorted(set(emotional))},
        neutral=_mean([sum((window.probs or {}).get(label, 0.0) for label in UNEMOTIONAL) for window in windows]),
        claimed=_mean([window.label not in (None, *UNEMOTIONAL) for window in windows]),
    )


def compare_condition(before: Sequence[Sequence[Event]], after: Sequence[Sequence[Event]]) -> ConditionFigures:
    """Compare the worker's events of the same streams before and after a change, window by window."""
    pairs: list[tuple[Window, Window]] = []
    for old, new in zip(before, after, strict=True):
        windows = {event.end_s: event for event in old if isinstance(event, Window) and _counts(event)}
        pairs += [
            (windows[event.end_s], event)
            for event in new
            if isinstance(event, Window) and _counts(event) and event.end_s in windows
        ]
    answers = [(one, other) for one, other in pairs if one.label is not None]
    twice = [(one.label, other.label) for one, other in answers if other.label is not None]
    return ConditionFigures(
        windows=len(pairs),
        unchanged=_mean([_likeliest(one) == _likeliest(other) for one, other in pairs]),
        answered=_mean([other.label is not None for _, other in pairs]),
        answered_before=_mean([one.label is not None for one, _ in pairs]),
        answers_unchanged=_mean([_likeliest(one) == _likeliest(other) for one, other in answers]),
        answers_turned=_mean([one != other for one, other in twice]),
    )


def _counts(window: Window) -> bool:
    return window.probs is not None and not window.warming


def _likeliest(window: Window) -> str:
    probs = window.probs or {}
    return max(probs, key=probs.__getitem__)


def _count_windows(tally: _Tally, stream: JoinedStream, events: Iterable[Event], labels: Sequence[str]) -> None:
    for window in events:
        if not isinstance(window, Window) or window.probs is None or not _counts(window):
            continue
        begin, end = round(window.start_s * SAMPLE_RATE), round(window.end_s * SAMPLE_RATE)
        label = stream.label(begin, end)
        if label is None:
            continue
        tally.probs.append(among([window.probs[name] for name in LABELS], labels))
        tally.targets.append(LABELS.index(label))
        tally.speakers.append(stream.speaker_id)
        tally.claims.append("neutral" if window.label == "calm" and "calm" not in labels else window.label)


def among(probs: Sequence[float], labels: Sequence[str]) -> Float64Array:
    """Return probabilities `[8]` conditioned on the label being one of `labels`; without calm, it counts as neutral."""
    values = np.array(probs, dtype=np.float64)
    if "calm" not in labels:
        values[_NEUTRAL] += values[_CALM]
    kept = np.where([label in labels for label in LABELS], values, 0.0)
    shares: Float64Array = kept / max(float(kept.sum()), 1e-12)
    return shares


def _count_stretches(tally: _Tally, stream: JoinedStream, events: Sequence[Event]) -> None:
    starts = [event for event in events if isinstance(event, EmotionStarted)]
    ends = {event.id: event.duration_s for event in events if isinstance(event, EmotionEnded)}
    held = [(event.label, event.start_s, event.start_s + ends.get(event.id, float("inf"))) for event in starts]
    for stretch in stream.stretches:
        begin_s, end_s = stretch.begin / SAMPLE_RATE, stretch.end / SAMPLE_RATE
        if stretch.label in UNEMOTIONAL:
            tally.neutral_samples += stretch.end - stretch.begin
            tally.neutral_starts += sum(
                begin_s <= event.start_s < end_s and event.label not in UNEMOTIONAL for event in starts
            )
            continue
        tally.stretches += 1
        within = {label for label, since_s, until_s in held if since_s < end_s and until_s > begin_s}
        tally.right += stretch.label in within
        tally.wrong += stretch.label not in within and bool(within - set(UNEMOTIONAL))
        tally.delays_s += _delay(stretch, starts)


def _delay(stretch: Stretch, starts: Iterable[EmotionStarted]) -> list[float]:
    """Return the seconds from the stretch's begin to the first start of its emotion within it; empty without one."""
    begin_s, end_s = stretch.begin / SAMPLE_RATE, stretch.end / SAMPLE_RATE
    within = (event.start_s for event in starts if event.label == stretch.label and begin_s <= event.start_s < end_s)
    return [first - begin_s] if (first := next(within, None)) is not None else []


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
