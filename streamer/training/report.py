"""An evaluation as JSON, as a page of Markdown, and as pictures."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from streamer.training.evaluate import CorpusResult, Evaluation


def write_report(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write `evaluation.json`, `report.md` and, where matplotlib is installed, two pictures a corpus.

    Returns:
        What was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_text = folder / "evaluation.json", folder / "report.md"
    as_json.write_text(json.dumps(_plain(asdict(evaluation)), indent=1) + "\n", encoding="utf-8")
    as_text.write_text(markdown(evaluation), encoding="utf-8")
    pictures = [
        folder / f"{kind}-{corpus.name}.png" for corpus in evaluation.corpora for kind in ("confusion", "reliability")
    ]
    if find_spec("matplotlib") is None:
        return [as_json, as_text]
    for corpus in evaluation.corpora:
        _draw_confusion(corpus, folder / f"confusion-{corpus.name}.png")
        _draw_reliability(corpus, folder / f"reliability-{corpus.name}.png")
    return [as_json, as_text, *pictures]


def markdown(evaluation: Evaluation) -> str:
    """The whole report."""
    return "\n".join(_lines(evaluation)) + "\n"


def _lines(evaluation: Evaluation) -> Iterator[str]:
    yield f"# {evaluation.model}"
    yield ""
    yield (
        f"`{evaluation.checkpoint}`, sha256 {evaluation.sha256[:16]}, split seed {evaluation.seed}, temperature "
        f"{evaluation.temperature:.2f}, threshold {evaluation.threshold:.2f}. Whole clips of test speakers; answers among the "
        "corpus's labels; intervals are 95 %, speakers drawn with replacement."
    )
    yield ""
    yield from _table(
        [
            "corpus",
            "speakers",
            "clips",
            "UAR",
            "interval",
            "accuracy",
            "ECE",
            "answered",
            "accuracy of answered",
            "peers (UAR)",
        ],
        [
            [
                corpus.name,
                len(corpus.speakers),
                corpus.clips,
                _share(corpus.uar),
                f"{corpus.interval[0]:.3f} to {corpus.interval[1]:.3f}",
                _share(corpus.accuracy),
                _share(corpus.reliability.expected_calibration_error),
                _share(corpus.answered),
                _share(corpus.answered_accuracy),
                ", ".join(f"{name} {value:.3f}" for name, value in corpus.peers.items()) or "not measured",
            ]
            for corpus in evaluation.corpora
        ],
    )
    for corpus in evaluation.corpora:
        yield from _corpus(corpus)
    if evaluation.robustness:
        yield f"## Unchanged answers, {evaluation.robustness_clips} clips"
        yield ""
        yield from _table(
            ["change", "unchanged"], [[name, _share(value)] for name, value in evaluation.robustness.items()]
        )
    if evaluation.false_alarms_per_hour:
        yield f"## Emotions that begin without a voice, {evaluation.noise_minutes:g} minutes of each sound"
        yield ""
        alarms = evaluation.false_alarms_per_hour
        yield from _table(["sound", "an hour"], [[name, f"{value:.1f}"] for name, value in alarms.items()])


def _corpus(corpus: CorpusResult) -> Iterator[str]:
    yield f"## {corpus.name}"
    yield ""
    yield from _table(
        ["label", "recall", "F1", *(f"said {label}" for label in corpus.labels)],
        [
            [label, _share(recall), _share(f1), *row]
            for label, recall, f1, row in zip(corpus.labels, corpus.recall, corpus.f1, corpus.confusion, strict=True)
        ],
    )
    spread = sorted(corpus.of_speakers.values())
    yield f"Speaker by speaker: UAR {spread[0]:.3f} to {spread[-1]:.3f}, median {spread[len(spread) // 2]:.3f}."
    yield ""
    if corpus.live is not None:
        live = corpus.live
        yield (
            f"Streamed: {live.clips} clips, {live.windows} windows with a voice, {_share(live.right_windows)} right; "
            f"{_share(live.claimed_windows)} claim a label with all eight offered, {_share(live.right_claims)} of those are "
            f"right; {_share(live.same_as_offline)} of last windows have the offline model's label."
        )
        yield ""


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


def _draw_confusion(corpus: CorpusResult, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot()
    shares = [[count / max(1, sum(row)) for count in row] for row in corpus.confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for y, row in enumerate(corpus.confusion):
        for x, count in enumerate(row):
            axes.text(x, y, str(count), ha="center", va="center", color="white" if shares[y][x] > 0.6 else "black")
    places = range(len(corpus.labels))
    axes.set_xticks(places, corpus.labels, rotation=45, ha="right")
    axes.set_yticks(places, corpus.labels)
    axes.set_xlabel("said")
    axes.set_ylabel("was")
    axes.set_title(f"{corpus.name}: UAR {corpus.uar:.3f}")
    figure.savefig(path, dpi=120)


def _draw_reliability(corpus: CorpusResult, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    curve = corpus.reliability
    axes.plot([0, 1], [0, 1], color="gray", linestyle="--")
    axes.plot(curve.confidence, curve.accuracy, marker="o")
    for x, y, count in zip(curve.confidence, curve.accuracy, curve.counts, strict=True):
        axes.annotate(str(count), (x, y), textcoords="offset points", xytext=(6, -10), fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    axes.set_title(f"{corpus.name}: expected calibration error {curve.expected_calibration_error:.3f}")
    figure.savefig(path, dpi=120)
