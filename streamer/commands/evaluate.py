"""`streamer evaluate`: what a checkpoint is worth on speakers it never heard."""

from collections.abc import Sequence
from pathlib import Path

import torch

from streamer.commands.train import show_progress
from streamer.corpora.corpus import read_corpora
from streamer.errors import UsageError
from streamer.evaluation.evaluate import evaluate
from streamer.evaluation.options import EvaluationOptions
from streamer.evaluation.report import markdown, write_report


def run_evaluation(
    checkpoint: str,
    paths: Sequence[Path],
    options: EvaluationOptions,
    *,
    output: Path,
    work: Path,
) -> None:
    """Evaluate, print the report, and write it as JSON, Markdown and pictures to `output`.

    Args:
        checkpoint: `bundled`, `measured` or a path.
        paths: folders of corpora, or CSV files.
        options: how much to measure.
        output: folder of the report.
        work: folder for decoded audio; a training's serves.

    Raises:
        StreamerError: see `streamer.evaluation.evaluate.evaluate` and `streamer.corpora.corpus.read_corpora`.
    """
    if not paths:
        raise UsageError(
            "There is nothing to evaluate on; give folders of corpora, or CSV files of path,label,speaker."
        )
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    evaluation = evaluate(checkpoint, read_corpora(paths), options, work, print, show_progress)
    written = write_report(evaluation, output)
    print(markdown(evaluation))
    print("written: " + ", ".join(str(path) for path in written))
