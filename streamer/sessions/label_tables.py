"""Tables over all labelled recordings: a row an emotion, and a row a recording."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from streamer.sessions.label_folder import Outcome, Recording
from streamer.sessions.tables import EMOTION_COLUMNS, Kind, Row, TableFormat, write_table

_EMOTION = [name for name, _ in EMOTION_COLUMNS]
# Of a recording, the moments of computation say nothing, and its stream's name repeats the file's.
_LEFT_OUT = ("stream", "start", "end")
_SUMMARY: tuple[tuple[str, Kind], ...] = (
    ("file", "text"), ("audio_s", "number"), ("speech_s", "number"), ("windows", "integer"), ("emotions", "integer"),
    ("longest", "text"), ("none_share", "number"),
)  # fmt: skip
_MODEL: tuple[tuple[str, Kind], ...] = (
    ("model", "text"), ("model_sha256", "text"), ("threshold", "number"), ("problem", "text"),
)  # fmt: skip


def write_tables(out: Path, kind: TableFormat, recordings: Sequence[Recording], outcome: Outcome) -> list[Path]:
    """Write `emotions` and `summary`; return their paths.

    Raises:
        StreamerError: Parquet needs pyarrow, which is not installed.
        OSError: a file cannot be written.
    """
    emotions, summary = out / f"emotions.{kind}", out / f"summary.{kind}"
    columns: list[tuple[str, Kind]] = [("file", "text"), *(c for c in EMOTION_COLUMNS if c[0] not in _LEFT_OUT)]
    write_table(emotions, kind, columns, _emotions(outcome), {})
    labels = list(dict.fromkeys(label for labelled in outcome.labelled.values() for label in labelled.labels))
    shares: list[tuple[str, Kind]] = [(f"{label}_share", "number") for label in labels]
    write_table(summary, kind, [*_SUMMARY, *shares, *_MODEL], _summaries(recordings, outcome, labels), {})
    return [emotions, summary]


def _emotions(outcome: Outcome) -> Iterator[Row]:
    kept = [index for index, name in enumerate(_EMOTION) if name not in _LEFT_OUT]
    for name, labelled in outcome.labelled.items():
        for row in labelled.emotions:
            yield [name, *(row[index] for index in kept)]


def _summaries(recordings: Sequence[Recording], outcome: Outcome, labels: Sequence[str]) -> Iterator[Row]:
    """Yield a row for each recording; one that could not be labelled has its problem alone."""
    label_at, duration_at = _EMOTION.index("label"), _EMOTION.index("duration_s")
    for recording in recordings:
        labelled = outcome.labelled.get(recording.name)
        if labelled is None:
            blank = [None] * (len(_SUMMARY) - 1 + len(labels) + len(_MODEL) - 1)
            yield [recording.name, *blank, outcome.failures.get(recording.name, "")]
            continue
        held: Counter[str] = Counter()
        for row in labelled.emotions:
            held[row[label_at]] += row[duration_at]
        audio_s = labelled.audio_s or 1.0
        longest = max(held, key=lambda label: held[label], default=None)
        yield [
            recording.name, labelled.audio_s, labelled.speech_s, labelled.windows, len(labelled.emotions), longest,
            round(max(0.0, 1 - sum(held.values()) / audio_s), 4),
            *(round(held[label] / audio_s, 4) for label in labels),
            labelled.model, labelled.model_sha256, labelled.threshold, labelled.problem or None,
        ]  # fmt: skip
