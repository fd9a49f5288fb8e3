"""The part of a report that comes first: what a live user gets."""

from collections.abc import Iterator, Sequence

from streamer.evaluation.figures import interval, number, share
from streamer.evaluation.results import CorpusResult, Evaluation
from streamer.evaluation.streams import StreamFigures
from streamer.markdown import markdown_table

_COLUMNS = (
    "streams of", "speakers", "minutes", "windows", "UAR", "interval", "ECE", "answered", "accuracy of answered",
    "neutral recall", "neutral windows with an emotion", "emotional starts an hour in neutral speech",
    "right emotion held", "only a wrong one", "median delay",
)  # fmt: skip


def stream_blocks(evaluation: Evaluation) -> Iterator[str]:
    """Yield headings, paragraphs and tables of all measurements on streams."""
    of_corpora = {corpus.name: (corpus.streams, corpus.labels) for corpus in evaluation.corpora}
    changes = {
        f"{corpus.name}, after another speaker": (corpus.speaker_change, corpus.labels) for corpus in evaluation.corpora
    }
    foreign = {
        f"{name}, foreign, four emotions": (figures, ("neutral", "happy", "sad", "angry"))
        for name, figures in evaluation.foreign.items()
    }
    rows = [
        _row(name, figures, labels)
        for name, (figures, labels) in (of_corpora | changes | foreign).items()
        if figures is not None
    ]
    if rows:
        yield "## Streams, through the worker"
        yield (
            "Clips of one speaker, joined with pauses of their own background noise: neutral speech, and then each "
            "emotion for some 9 s with 8 s of neutral speech after it. A window counts for the label that covers two "
            "thirds of it. Predictions are among the corpus's labels; *answered* windows name one out of all eight."
        )
        yield markdown_table(_COLUMNS, rows)
    for corpus in evaluation.corpora:
        if corpus.streams is not None:
            yield _recalls(corpus, corpus.streams)
    if evaluation.natural:
        yield from _natural(evaluation)
    if any(corpus.conditions for corpus in evaluation.corpora):
        yield from _conditions(evaluation.corpora)


def _row(name: str, figures: StreamFigures, labels: Sequence[str]) -> list[object]:
    windows = figures.windows
    neutral = windows.recall[labels.index("neutral")] if "neutral" in labels else float("nan")
    return [
        name,
        len(windows.of_speakers),
        number(figures.minutes),
        windows.count,
        share(windows.uar),
        interval(windows.interval),
        share(windows.expected_calibration_error),
        share(figures.answered),
        share(figures.answered_accuracy),
        share(neutral),
        share(figures.neutral_claimed),
        number(figures.starts_per_hour),
        f"{share(figures.held_right)} of {figures.stretches}",
        share(figures.held_wrong),
        number(figures.delay_s, " s"),
    ]


def _recalls(corpus: CorpusResult, figures: StreamFigures) -> str:
    pairs = zip(corpus.labels, figures.windows.recall, strict=True)
    return f"Recall, {corpus.name}: " + ", ".join(f"{label} {share(recall)}" for label, recall in pairs) + "."


def _natural(evaluation: Evaluation) -> Iterator[str]:
    yield "## Natural speech: every emotion is a false alarm"
    yield markdown_table(
        ["recordings", "minutes", "emotional starts", "per hour", "by emotion", "mean p(neutral)", "windows with one"],
        [
            [
                name,
                number(one.minutes),
                one.started,
                number(one.per_hour),
                ", ".join(f"{label}: {count}" for label, count in one.labels.items()) or "none",
                share(one.neutral),
                share(one.claimed),
            ]
            for name, one in evaluation.natural.items()
        ],
    )


def _conditions(corpora: Sequence[CorpusResult]) -> Iterator[str]:
    yield "## The same streams under other conditions"
    yield (
        "Windows with probabilities both times: the share whose likeliest label is unchanged; the same of those that "
        "named a label before; of those that named one both times, the share that name another; how many name one."
    )
    shares = ("unchanged", "answers unchanged", "answers turned", "answered", "answered before", "ratio")
    yield markdown_table(
        ["streams of", "condition", "windows", *shares],
        [
            [
                corpus.name,
                name,
                one.windows,
                share(one.unchanged),
                share(one.answers_unchanged),
                share(one.answers_turned),
                share(one.answered),
                share(one.answered_before),
                share(one.answered / one.answered_before if one.answered_before else float("nan")),
            ]
            for corpus in corpora
            for name, one in corpus.conditions.items()
        ],
    )
