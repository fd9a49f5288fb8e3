"""`streamer train-streams`: fit a checkpoint's stream head."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamer.commands.options import CHECKPOINTS, Corpora, Threads, Work


def train_streams(
    checkpoint: Annotated[str, typer.Argument(help=f"Its encoder stays: {CHECKPOINTS}.", show_default=False)],
    corpora: Corpora,
    output: Annotated[Path, typer.Option(help="Checkpoint to write.")] = Path("model.safetensors"),
    work: Work = Path("training-work"),
    split: Annotated[
        Path | None,
        typer.Option(help="Speaker split: a split.json, or a checkpoint. Default: drawn from the seed."),
    ] = None,
    natural: Annotated[
        list[Path] | None,
        typer.Option(
            help="Natural speech, learned as neutral: a recording, a folder, or a CSV file of path,label,speaker; "
            "repeatable. Default: none."
        ),
    ] = None,
    non_speech: Annotated[
        list[Path] | None,
        typer.Option(help="Recordings without speech: a file or a folder; repeatable. Default: rendered sounds alone."),
    ] = None,
    versions: Annotated[
        int, typer.Option(min=1, help="Versions of each stream: as recorded, and in other voices and conditions.")
    ] = 2,
    l2: Annotated[float, typer.Option(min=0, help="Penalty on the head's squared weights.")] = 0.1,
    natural_weight: Annotated[
        float, typer.Option(min=0, help="Weight of natural speech in the fit, where a corpus weighs 1.")
    ] = 0.2,
    everyone: Annotated[
        str | None,
        typer.Option(
            help="A checkpoint of the same encoder, as bundled: it is written with a stream head of all speakers; the "
            "card's figures are of the checkpoint above. Default: none."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed. Default: 20261122.")] = None,
    threads: Threads = None,
) -> None:
    """Fit a checkpoint's head to streams of joined speech.

    The encoder stays frozen.

    \b
    Example:
      streamer train-streams measured CREMA-D RAVDESS --natural speech/ --output mine.safetensors
    """
    import torch

    from streamer.commands.progress_bars import show_progress
    from streamer.corpora.corpus import read_corpora
    from streamer.corpora.splits import DEFAULT_SEED, pin_known_speakers, read_split, split_speakers
    from streamer.emotion.checkpoint import load_checkpoint
    from streamer.folder_claims import claimed_work
    from streamer.progress import Reporter
    from streamer.training.natural import natural_streams
    from streamer.training.train_on_streams import StreamData, StreamRecipe, train_on_streams

    if threads is not None:
        torch.set_num_threads(threads)
    recipe = StreamRecipe(
        seed=DEFAULT_SEED if seed is None else seed,
        versions=versions,
        l2=l2,
        natural=natural_weight,
        everyone=everyone,
    )
    data = read_corpora(corpora)
    known = load_checkpoint(checkpoint).card.speakers
    parts = read_split(split) if split else pin_known_speakers(split_speakers(data, recipe.seed), known, "test")
    streams = StreamData(data, parts, natural_streams(natural or ()), natural_streams(non_speech or ()))
    with claimed_work(work):
        train_on_streams(streams, recipe, checkpoint, work, output, Reporter(print, show_progress))
