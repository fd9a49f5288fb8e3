"""`streamer evaluate`: measure a checkpoint on held-out speakers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.commands.options import CHECKPOINTS, Corpora, Device, Threads, Work
from streamer.evaluation.protocol import Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.evaluation.options import EvaluationOptions


def evaluate(
    checkpoint: Annotated[str, typer.Argument(help=f"Model: {CHECKPOINTS}.", show_default=False)],
    corpora: Corpora,
    output: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("evaluation"),
    work: Work = Path("training-work"),
    split: Annotated[
        Path | None,
        typer.Option(
            help="Speaker split: a training's split.json, or a checkpoint. Default: drawn from seed 20261122."
        ),
    ] = None,
    protocol: Annotated[
        Protocol,
        typer.Option(help="Protocol of the whole-clip tables: one split, k folds, or leave-one-speaker-out."),
    ] = "holdout",
    folds: Annotated[int, typer.Option(help="Number of folds, with kfold.")] = 5,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            help="With kfold and loso: a checkpoint to score the speakers that this one was trained on; repeatable. "
            "Default: none."
        ),
    ] = None,
    streams: Annotated[
        int, typer.Option(help="Streams of each test speaker, whose emotion changes, through the worker; 0: none.")
    ] = 2,
    conditions: Annotated[
        bool, typer.Option(help="Repeat these streams by telephone, in rooms, louder and quieter.")
    ] = False,
    foreign: Annotated[
        list[Path] | None,
        typer.Option(
            help="Corpus that no model here was trained on, for streams of four emotions; repeatable. Default: none."
        ),
    ] = None,
    natural: Annotated[
        list[Path] | None,
        typer.Option(
            help="Recording of natural speech, or a folder of them: each emotion in it is a false alarm; repeatable. "
            "Default: none."
        ),
    ] = None,
    live_clips: Annotated[int, typer.Option(help="Clips of each corpus to run through the worker; 0: none.")] = 100,
    robustness_clips: Annotated[
        int, typer.Option(help="Clips to test under noise, gain and reverberation; 0: none.")
    ] = 200,
    noise_minutes: Annotated[
        float,
        typer.Option(help="Minutes each of silence, noises, hum, buzz and music to count false alarms in; 0: none."),
    ] = 20.0,
    without_voice: Annotated[
        list[Path] | None,
        typer.Option(
            help="Recording without speech, or a folder of them, for more false alarms; repeatable. Default: none."
        ),
    ] = None,
    peers: Annotated[bool, typer.Option(help="Compare with baselines: eGeMAPS and ComParE with an SVM.")] = True,
    teacher: Annotated[
        str | None, typer.Option(help="Teacher's file, for one more baseline: a regression on it. Default: none.")
    ] = None,
    voices: Annotated[bool, typer.Option(help="Measure the gain of voice profiles.")] = True,
    precisions: Annotated[bool, typer.Option(help="Measure every model.precision of this processor.")] = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Measure a checkpoint on held-out speakers.

    \b
    Example:
      streamer evaluate measured CREMA-D RAVDESS --no-peers
    """
    from streamer.evaluation.options import EvaluationOptions

    options = EvaluationOptions(
        protocol=protocol,
        folds=folds,
        also=tuple(also or ()),
        split=split,
        robustness_clips=robustness_clips,
        streams=streams,
        conditions=conditions,
        foreign=tuple(foreign or ()),
        natural=tuple(natural or ()),
        live_clips=live_clips,
        noise_minutes=noise_minutes,
        without_voice=tuple(without_voice or ()),
        peers=peers,
        teacher=teacher,
        voices=voices,
        precisions=precisions,
        device=device,
        threads=threads,
    )
    run_evaluation(checkpoint, corpora, options, output=output, work=work)


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
        paths: corpus folders, or CSV files.
        options: what to measure.
        output: folder of the report.
        work: folder for decoded audio; a training's can be reused.

    Raises:
        StreamerError: see `streamer.evaluation.evaluate.evaluate` and `streamer.corpora.corpus.read_corpora`; another
            program works in `work`; or, when all is written, a recording could not be read whole.
    """
    import torch

    from streamer.commands.progress_bars import show_progress
    from streamer.corpora.audio_store import require_whole
    from streamer.corpora.corpus import clips_of, read_corpora
    from streamer.errors import UsageError
    from streamer.evaluation.evaluate import evaluate
    from streamer.evaluation.report import markdown, write_report
    from streamer.folder_claims import claimed_work
    from streamer.plain_text import printable

    if not paths:
        raise UsageError("There is nothing to evaluate on; give corpus folders, or CSV files of path,label,speaker.")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    corpora = read_corpora(paths)
    with claimed_work(work):
        evaluation = evaluate(checkpoint, corpora, options, work, print, show_progress)
        written = write_report(evaluation, output)
        print("\n".join(map(printable, markdown(evaluation).splitlines())))
        print("written: " + ", ".join(str(path) for path in written))
        require_whole(work, clips_of(corpora))
