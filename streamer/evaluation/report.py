"""Write an evaluation as JSON, as a Markdown report, and as pictures."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from streamer.evaluation.cross_validation import REFIT
from streamer.evaluation.false_alarms import FalseAlarms
from streamer.evaluation.figures import interval, share
from streamer.evaluation.precision import PrecisionEffect
from streamer.evaluation.protocol import Protocol
from streamer.evaluation.results import CorpusResult, Evaluation
from streamer.evaluation.robustness import Robustness
from streamer.evaluation.stream_report import stream_blocks
from streamer.evaluation.voice_profiles import MOST_CLIPS
from streamer.markdown import markdown_table
from streamer.training.metrics import Measures

_KNOWN = "Speakers known to the checkpoint are only trained on."
_PROTOCOLS: dict[Protocol, str] = {
    "holdout": "Whole clips: holdout; the checkpoint's own classifier on the test speakers of the split.",
    "kfold": f"Whole clips: k-fold over speakers; in every fold {REFIT}, fitted on the other folds. {_KNOWN}",
    "loso": f"Whole clips: leave one speaker out; {REFIT}, fitted on the other speakers. {_KNOWN}",
}


def write_report(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write `evaluation.json`, `report.md` and, where matplotlib is installed, two pictures a table.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_text = folder / "evaluation.json", folder / "report.md"
    as_json.write_text(json.dumps(_plain(asdict(evaluation)), indent=1) + "\n", encoding="utf-8")
    as_text.write_text(markdown(evaluation), encoding="utf-8")
    if find_spec("matplotlib") is None:
        return [as_json, as_text]
    pictures = []
    for corpus in evaluation.corpora:
        tables = {"clips": corpus.clips} | ({"windows": corpus.live.windows} if corpus.live else {})
        for what, measures in tables.items():
            pictures += [folder / f"{kind}-{what}-{corpus.name}.png" for kind in ("confusion", "reliability")]
            _draw_confusion(corpus, measures, what, pictures[-2])
            _draw_reliability(corpus, measures, what, pictures[-1])
    return [as_json, as_text, *pictures]


def markdown(evaluation: Evaluation) -> str:
    """Return the whole report as Markdown."""
    return "\n\n".join(_blocks(evaluation)) + "\n"


def _blocks(evaluation: Evaluation) -> Iterator[str]:
    """Yield headings, paragraphs and tables."""
    yield f"# {evaluation.model}"
    yield (
        f"`{evaluation.checkpoint}`, sha256 {evaluation.sha256[:16]}, split seed {evaluation.seed}, temperature "
        f"{evaluation.temperature:.2f}, threshold {evaluation.threshold:.2f}. Predictions are among the corpus's "
        "labels; intervals are 95 %, speakers drawn with replacement. *Answered* is the share at or above the "
        "threshold."
    )
    yield from stream_blocks(evaluation)
    yield "## Clips"
    yield _PROTOCOLS[evaluation.protocol] + _further_checkpoints(evaluation)
    columns = [
        "corpus",
        "what",
        "speakers",
        "count",
        "UAR",
        "interval",
        "accuracy",
        "ECE",
        "answered",
        "accuracy of answered",
    ]
    yield markdown_table(columns, [row for corpus in evaluation.corpora for row in _rows(corpus)], left=2)
    for corpus in evaluation.corpora:
        yield from _corpus(corpus)
    if any(corpus.calibrated is not None for corpus in evaluation.corpora):
        yield from _voice_profiles(evaluation.corpora)
    if evaluation.robustness is not None:
        yield from _robustness(evaluation.robustness)
    if evaluation.false_alarms:
        yield from _false_alarms(evaluation.false_alarms)
    if evaluation.precisions:
        yield from _precisions(evaluation.precisions)


def _further_checkpoints(evaluation: Evaluation) -> str:
    if not evaluation.also:
        return ""
    return f" Speakers known to the checkpoint are tested with {', then '.join(evaluation.also)}, if unknown to that."


def _rows(corpus: CorpusResult) -> Iterator[list[object]]:
    """Yield the rows of the main table: whole clips, windows, baselines."""
    yield [corpus.name, "whole clips", *_figures(corpus.clips)]
    if corpus.live is not None:
        yield [corpus.name, "windows in the worker", *_figures(corpus.live.windows)]
    for name, baseline in corpus.peers.items():
        figures = (share(baseline.uar), interval(baseline.interval), share(baseline.accuracy))
        yield [corpus.name, name, len(corpus.clips.of_speakers), corpus.clips.count, *figures, *[""] * 3]


def _figures(measures: Measures) -> list[object]:
    return [
        len(measures.of_speakers),
        measures.count,
        share(measures.uar),
        interval(measures.interval),
        share(measures.accuracy),
        share(measures.expected_calibration_error),
        share(measures.answered),
        share(measures.answered_accuracy),
    ]


def _corpus(corpus: CorpusResult) -> Iterator[str]:
    yield f"## {corpus.name}"
    yield from _confusion(corpus, corpus.clips, "whole clips")
    live = corpus.live
    if live is None:
        return
    yield from _confusion(corpus, live.windows, "windows in the worker")
    yield (
        f"{live.clips} clips were streamed, each in a quiet room, after the monitor had started: {live.windows.count} "
        f"windows with speech, of which {share(live.same_as_offline)} have the same label as offline. Out of all "
        f"eight labels the worker claims one in {share(live.claimed)} of them, and {share(live.right_claims)} of "
        f"those claims are right. An emotion begins in {share(live.started)} of the clips; "
        f"{share(live.right_starts)} of the emotions that begin are right."
    )


def _confusion(corpus: CorpusResult, measures: Measures, what: str) -> Iterator[str]:
    per_label = zip(corpus.labels, measures.recall, measures.f1, measures.confusion, strict=True)
    yield markdown_table(
        [what, "recall", "F1", *(f"predicted {label}" for label in corpus.labels)],
        [[label, share(recall), share(f1), *counts] for label, recall, f1, counts in per_label],
    )
    spread = list(measures.of_speakers.values())
    low, middle, high = np.percentile(spread, [25, 50, 75])
    yield (
        f"By speaker: UAR {min(spread):.3f} to {max(spread):.3f}, median {middle:.3f}, "
        f"quartiles {low:.3f} and {high:.3f}."
    )


def _voice_profiles(corpora: Sequence[CorpusResult]) -> Iterator[str]:
    yield "## Voice profiles"
    yield (
        f"Whole clips of test speakers, before and after applying a profile of up to {MOST_CLIPS} of the speaker's "
        "other neutral clips."
    )
    effects = [(corpus.name, corpus.calibrated) for corpus in corpora if corpus.calibrated is not None]
    yield markdown_table(
        ["corpus", "speakers", "count", "UAR before", "after", "difference"],
        [
            [name, one.speakers, one.clips, share(one.uar_before), share(one.uar_after), interval(one.difference)]
            for name, one in effects
        ],
    )


def _robustness(robustness: Robustness) -> Iterator[str]:
    yield f"## Unchanged predictions, {robustness.clips} whole clips of test speakers"
    yield (
        f"Beside them those of a classifier of loudness alone. Accuracy without any change: "
        f"{share(robustness.accuracy)}, loudness only {share(robustness.loudness_accuracy)}."
    )
    yield markdown_table(
        ["change", "unchanged", "accuracy", "unchanged, loudness only"],
        [
            [name, share(survival.unchanged), share(survival.accuracy), share(survival.loudness_unchanged)]
            for name, survival in robustness.changes.items()
        ],
    )


def _false_alarms(alarms: Mapping[str, FalseAlarms]) -> Iterator[str]:
    yield "## False alarms: emotions that begin without speech"
    yield markdown_table(
        [
            "sound",
            "minutes",
            "count",
            "per hour",
            "at each level",
            "by emotion",
            "windows taken for speech",
            "windows with one, ungated",
        ],
        [
            [
                sound,
                f"{one.minutes:.1f}",
                one.started,
                f"{one.per_hour:.1f}",
                _counts(one.at_levels),
                _counts(one.labels),
                share(one.voiced),
                share(one.ungated),
            ]
            for sound, one in alarms.items()
        ],
    )


def _precisions(effects: Mapping[str, PrecisionEffect]) -> Iterator[str]:
    yield "## Precision of the encoder"
    yield "`model.precision`, on this processor; all whole clips of test speakers, in steps of 0.24 s."
    corpora = list(effects["float32"].uars)
    yield markdown_table(
        ["precision", *(f"UAR {name}" for name in corpora), "predictions unchanged", "relative error of embeddings"],
        [
            [
                name,
                *(share(one.uars[corpus]) for corpus in corpora),
                share(one.unchanged),
                f"{one.embedding_error:.4f}",
            ]
            for name, one in effects.items()
        ],
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items() if count) or "none"


def _plain(value: Any) -> Any:
    """Replace NaN by None: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _draw_confusion(corpus: CorpusResult, measures: Measures, what: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot()
    shares = [[count / max(1, sum(row)) for count in row] for row in measures.confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for y, row in enumerate(measures.confusion):
        for x, count in enumerate(row):
            axes.text(x, y, str(count), ha="center", va="center", color="white" if shares[y][x] > 0.6 else "black")
    places = range(len(corpus.labels))
    axes.set_xticks(places, corpus.labels, rotation=45, ha="right")
    axes.set_yticks(places, corpus.labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    axes.set_title(f"{corpus.name}, {what}: UAR {measures.uar:.3f}")
    figure.savefig(path, dpi=120)


def _draw_reliability(corpus: CorpusResult, measures: Measures, what: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    curve = measures.reliability
    axes.plot([0, 1], [0, 1], color="gray", linestyle="--")
    axes.plot(curve.confidence, curve.accuracy, marker="o")
    for x, y, count in zip(curve.confidence, curve.accuracy, curve.counts, strict=True):
        axes.annotate(str(count), (x, y), textcoords="offset points", xytext=(6, -10), fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    axes.set_title(f"{corpus.name}, {what}: calibration error {curve.expected_calibration_error:.3f}")
    figure.savefig(path, dpi=120)
