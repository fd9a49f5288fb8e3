"""An evaluation as JSON, as a page of Markdown, and as pictures."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from streamer.evaluation.cross_validation import REFIT, Protocol
from streamer.evaluation.evaluate import CorpusResult, Evaluation
from streamer.evaluation.false_alarms import Alarms
from streamer.evaluation.precision import PrecisionEffect
from streamer.evaluation.robustness import Robustness
from streamer.evaluation.voice_profiles import MOST_CLIPS
from streamer.training.metrics import Measures

_STRANGERS = "Whom the checkpoint knows is only learnt from."
_PROTOCOLS: dict[Protocol, str] = {
    "holdout": "Whole clips: holdout; the checkpoint's own classifier, on test speakers of the split.",
    "kfold": f"Whole clips: k folds of speakers; in every fold {REFIT}, fitted on the others. {_STRANGERS}",
    "loso": f"Whole clips: each speaker in turn; {REFIT}, fitted on the others. {_STRANGERS}",
}


def write_report(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write `evaluation.json`, `report.md` and, where matplotlib is installed, two pictures a table.

    Returns:
        What was written.
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
    """The whole report."""
    return "\n".join(_lines(evaluation)) + "\n"


def _lines(evaluation: Evaluation) -> Iterator[str]:
    yield f"# {evaluation.model}"
    yield ""
    yield (
        f"`{evaluation.checkpoint}`, sha256 {evaluation.sha256[:16]}, split seed {evaluation.seed}, temperature "
        f"{evaluation.temperature:.2f}, threshold {evaluation.threshold:.2f}. Answers among the corpus's labels; "
        "intervals are 95 %, speakers drawn with replacement. *Answered* is the share at or above the threshold."
    )
    yield ""
    yield _PROTOCOLS[evaluation.protocol]
    if evaluation.also:
        yield f"For speakers whom it has heard {', then '.join(evaluation.also)} answers, if that has not."
    yield ""
    rows = [row for corpus in evaluation.corpora for row in _rows(corpus)]
    yield from _table(
        [
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
        ],
        rows,
    )
    for corpus in evaluation.corpora:
        yield from _corpus(corpus)
    if any(corpus.calibrated is not None for corpus in evaluation.corpora):
        yield from _calibrated(evaluation.corpora)
    if evaluation.robustness is not None:
        yield from _robustness(evaluation.robustness)
    if evaluation.false_alarms:
        yield from _alarms(evaluation.false_alarms)
    if evaluation.precisions:
        yield from _precisions(evaluation.precisions)


def _rows(corpus: CorpusResult) -> Iterator[list[object]]:
    """Of the table that everything stands in: clips, windows, peers."""
    yield [corpus.name, "whole clips", *_row(corpus.clips)]
    if corpus.live is not None:
        yield [corpus.name, "windows in the worker", *_row(corpus.live.windows)]
    for name, peer in corpus.peers.items():
        yield [
            corpus.name,
            name,
            len(corpus.clips.of_speakers),
            corpus.clips.count,
            _share(peer.uar),
            _interval(peer.interval),
            _share(peer.accuracy),
            *[""] * 3,
        ]


def _row(measures: Measures) -> list[object]:
    return [
        len(measures.of_speakers),
        measures.count,
        _share(measures.uar),
        _interval(measures.interval),
        _share(measures.accuracy),
        _share(measures.expected_calibration_error),
        _share(measures.answered),
        _share(measures.answered_accuracy),
    ]


def _corpus(corpus: CorpusResult) -> Iterator[str]:
    yield f"## {corpus.name}"
    yield ""
    yield from _confusion(corpus, corpus.clips, "whole clips")
    live = corpus.live
    if live is None:
        return
    yield from _confusion(corpus, live.windows, "windows in the worker")
    yield (
        f"{live.clips} clips were streamed, each in a quiet room by a monitor that was on before: {live.windows.count} windows "
        f"with a voice, of which {_share(live.same_as_offline)} have the offline model's label. With all eight labels offered "
        f"the worker names one in {_share(live.claimed)} of them, and {_share(live.right_claims)} of those are right. An "
        f"emotion begins in {_share(live.started)} of the clips; {_share(live.right_starts)} of those that begin are right."
    )
    yield ""


def _confusion(corpus: CorpusResult, measures: Measures, what: str) -> Iterator[str]:
    yield from _table(
        [what, "recall", "F1", *(f"said {label}" for label in corpus.labels)],
        [
            [label, _share(recall), _share(f1), *row]
            for label, recall, f1, row in zip(
                corpus.labels, measures.recall, measures.f1, measures.confusion, strict=True
            )
        ],
    )
    spread = list(measures.of_speakers.values())
    low, middle, high = np.percentile(spread, [25, 50, 75])
    yield (
        f"Speaker by speaker: UAR {min(spread):.3f} to {max(spread):.3f}, median {middle:.3f}, "
        f"the middle half from {low:.3f} to {high:.3f}."
    )
    yield ""


def _calibrated(corpora: Sequence[CorpusResult]) -> Iterator[str]:
    yield "## Calibrated voices"
    yield ""
    yield (
        f"Whole clips of test speakers, before and after a profile of up to {MOST_CLIPS} of the speaker's other neutral clips."
    )
    yield ""
    yield from _table(
        ["corpus", "speakers", "count", "UAR before", "after", "difference"],
        [
            [
                corpus.name,
                corpus.calibrated.speakers,
                corpus.calibrated.clips,
                _share(corpus.calibrated.uar_before),
                _share(corpus.calibrated.uar_after),
                _interval(corpus.calibrated.difference),
            ]
            for corpus in corpora
            if corpus.calibrated is not None
        ],
    )


def _robustness(robustness: Robustness) -> Iterator[str]:
    yield f"## Unchanged answers, {robustness.clips} whole clips of test speakers"
    yield ""
    yield (
        f"Beside it a classifier that hears the level alone. Accuracy without any change: {_share(robustness.accuracy)}, "
        f"loudness only {_share(robustness.loudness_accuracy)}."
    )
    yield ""
    yield from _table(
        ["change", "unchanged", "accuracy", "unchanged, loudness only"],
        [
            [name, _share(survival.unchanged), _share(survival.accuracy), _share(survival.loudness_unchanged)]
            for name, survival in robustness.changes.items()
        ],
    )


def _alarms(alarms: Mapping[str, Alarms]) -> Iterator[str]:
    yield "## Emotions that begin without a voice"
    yield ""
    yield from _table(
        ["sound", "minutes", "began", "an hour", "at each level", "which", "windows taken for voice"],
        [
            [
                sound,
                f"{one.minutes:.1f}",
                one.started,
                f"{one.per_hour:.1f}",
                _counts(one.at_levels),
                _counts(one.labels),
                _share(one.voiced),
            ]
            for sound, one in alarms.items()
        ],
    )


def _precisions(effects: Mapping[str, PrecisionEffect]) -> Iterator[str]:
    yield "## Precision of the encoder"
    yield ""
    yield "`model.precision`, on this processor; all whole clips of test speakers, in steps of 0.24 s."
    yield ""
    corpora = list(effects["float32"].uars)
    yield from _table(
        ["precision", *(f"UAR {name}" for name in corpora), "answers unchanged", "embeddings' relative error"],
        [
            [
                name,
                *(_share(one.uars[corpus]) for corpus in corpora),
                _share(one.unchanged),
                f"{one.embedding_error:.4f}",
            ]
            for name, one in effects.items()
        ],
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items() if count) or "none"


def _interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
    yield ""


def _share(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.3f}"


def _plain(value: Any) -> Any:
    """NaN to None: JSON has no NaN."""
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
    axes.set_xlabel("said")
    axes.set_ylabel("was")
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
