"""The researcher's half of the command line: train, evaluate, embed, analyze. `cli.py` registers these."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Corpora = Annotated[
    list[Path], typer.Argument(help="Folders of corpora, or CSV files of path,label,speaker.", show_default=False)
]
Work = Annotated[Path, typer.Option(help="Folder for decoded audio, features and the state of a run.")]
Device = Annotated[str, typer.Option(help="auto | cpu | cuda | mps.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; torch's choice without.")]


class Tune(StrEnum):
    """How much of the model is trained."""

    HEAD = "head"
    UPPER = "upper"
    DEEP = "deep"
    ALL = "all"


class ProtocolName(StrEnum):
    """Who is measured by whom."""

    HOLDOUT = "holdout"
    KFOLD = "kfold"
    LOSO = "loso"


class EmbeddingKind(StrEnum):
    """What is kept of each frame."""

    encoder = "encoder"
    quantized = "quantized"
    codes = "codes"


def train(
    corpora: Corpora,
    output: Annotated[Path, typer.Option(help="The checkpoint to write.")] = Path("model.safetensors"),
    work: Work = Path("training-work"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run in --work stopped.")] = False,
    start: Annotated[
        str,
        typer.Option(
            help="bundled | measured | lower (bundled below 600 Hz, random above) | pretrained (Meta's) | random | "
            "a checkpoint | an encoder's weights."
        ),
    ] = "bundled",
    tune: Annotated[
        Tune, typer.Option(help="Train the head, the LSTM and what follows, from the 600 Hz layers on, or all.")
    ] = Tune.DEEP,
    teacher: Annotated[str | None, typer.Option(help="A teacher's file; default: Whisper tiny.en, fetched.")] = None,
    no_teacher: Annotated[bool, typer.Option("--no-teacher", help="Learn from labels alone.")] = False,
    descriptors: Annotated[float, typer.Option(help="Weight of log-mel and eGeMAPS descriptors at every frame.")] = 0.0,
    epochs: Annotated[int, typer.Option(help="At most so many.")] = 40,
    patience: Annotated[
        int, typer.Option(help="Epochs without a better validation before it stops; 0: the last one counts.")
    ] = 6,
    minutes: Annotated[
        float | None, typer.Option(help="Wall time after which the epoch under way is the last.")
    ] = None,
    versions: Annotated[int, typer.Option(help="Of each clip, where convolutions stay or --final is given.")] = 4,
    batch_size: Annotated[int, typer.Option(help="Windows a step.")] = 32,
    window_s: Annotated[float, typer.Option(help="Seconds a window.")] = 2.4,
    learning_rate: Annotated[float, typer.Option(help="Of what is not encoder.")] = 8e-4,
    encoder_learning_rate: Annotated[
        float | None, typer.Option(help="Of the encoder; default 6e-4, or 1e-5 for all of a trained one.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the split and of chance.")] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            help="Who is in which part: a split.json, or a checkpoint whose parts are taken; default: by seed."
        ),
    ] = None,
    fold: Annotated[
        int, typer.Option(min=1, help="Which of --folds: 1 is the seed's split, the others test whom it does not.")
    ] = 1,
    folds: Annotated[int, typer.Option(min=1, help="Splits that test everyone once, all together.")] = 1,
    final: Annotated[
        str | None,
        typer.Option(
            help="measured | a checkpoint: its encoder stays, its classifier learns anew from all speakers. Of the other "
            "options only versions, seed, work, output, device and threads count."
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that cut windows.")] = None,
) -> None:
    """Train a model of emotions on corpora, speaker-independent, resumable."""
    from streamer.commands.train import run_training
    from streamer.corpora.splits import DEFAULT_SEED
    from streamer.training.losses import Weights
    from streamer.training.recipe import Recipe
    from streamer.training.teacher import DEFAULT_TEACHER

    recipe = Recipe(
        start=start,
        tune=tune.value,
        teacher=None if no_teacher else teacher or DEFAULT_TEACHER,
        epochs=epochs,
        patience=patience,
        minutes=minutes,
        versions=versions,
        batch_size=batch_size,
        window_s=window_s,
        learning_rate=learning_rate,
        encoder_learning_rate=encoder_learning_rate,
        weights=Weights(descriptors=descriptors),
        seed=DEFAULT_SEED if seed is None else seed,
    )
    run_training(
        corpora,
        recipe,
        output=output,
        work=work,
        resume=resume,
        device=device,
        threads=threads,
        workers=workers,
        split=split,
        fold=None if fold == folds == 1 else (fold, folds),
        final=final,
    )


def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="bundled | measured | a .safetensors file.", show_default=False)],
    corpora: Corpora,
    output: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("evaluation"),
    work: Work = Path("training-work"),
    split: Annotated[
        Path | None, typer.Option(help="A training's split.json, or a checkpoint; default: the seed's split.")
    ] = None,
    protocol: Annotated[ProtocolName, typer.Option(help="Whose whole clips are in the tables.")] = ProtocolName.HOLDOUT,
    folds: Annotated[int, typer.Option(help="Of kfold.")] = 5,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            help="Under kfold and loso: a checkpoint to answer for speakers whom this one has heard; repeatable."
        ),
    ] = None,
    live_clips: Annotated[int, typer.Option(help="Of each corpus through the worker; 0: none.")] = 100,
    robustness_clips: Annotated[int, typer.Option(help="Under noise, gain, rooms; 0: none.")] = 200,
    noise_minutes: Annotated[float, typer.Option(help="Of silence, noise and music each; 0: none.")] = 20.0,
    without_voice: Annotated[
        list[Path] | None, typer.Option(help="A recording, or a folder of them, without a voice; repeatable.")
    ] = None,
    peers: Annotated[bool, typer.Option(help="eGeMAPS and ComParE with an SVM beside it.")] = True,
    teacher: Annotated[str | None, typer.Option(help="The teacher's file: a regression on it, beside it.")] = None,
    voices: Annotated[bool, typer.Option(help="What calibrating the speakers' voices gives.")] = True,
    precisions: Annotated[bool, typer.Option(help="Every model.precision of this processor too.")] = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Measure a checkpoint on speakers that no training has used."""
    from streamer.commands.evaluate import run_evaluation
    from streamer.evaluation.options import EvaluationOptions

    options = EvaluationOptions(
        protocol=protocol.value,
        folds=folds,
        also=tuple(also or ()),
        split=split,
        robustness_clips=robustness_clips,
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


def embed(
    paths: Annotated[list[Path], typer.Argument(help="Folders of recordings, or recordings.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A folder, or a file that ends in .parquet.", show_default=False)
    ],
    model: Annotated[
        str, typer.Option(help="bundled | measured | pretrained (EnCodec's own weights) | a file.")
    ] = "bundled",
    kind: Annotated[
        EmbeddingKind, typer.Option(help="Before the quantiser, after it, or its codes.")
    ] = EmbeddingKind.encoder,
    bandwidth: Annotated[float | None, typer.Option(metavar="KBPS", help="1.5, 3, 6, 12 or 24; default 6.")] = None,
    pool: Annotated[str | None, typer.Option(help="mean | max | attention | learned | multi; default mean.")] = None,
    frames: Annotated[bool, typer.Option("--frames", help="Keep every frame, 75 a second.")] = False,
    level: Annotated[
        bool | None,
        typer.Option("--level/--no-level", help="Level first; default for the models that were trained so."),
    ] = None,
    table: Annotated[Path | None, typer.Option(help="CSV with the columns path,label,speaker.")] = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Turn recordings into EnCodec embeddings: NumPy arrays and a CSV, resumable."""
    from streamer.commands.embed import run_embed

    run_embed(
        paths,
        out,
        model=model,
        kind=kind.value,
        pool=pool,
        frames=frames,
        bandwidth=bandwidth,
        level=level,
        table=table,
        device=device,
        threads=threads,
    )


def analyze(
    folder: Annotated[Path, typer.Argument(help="What `streamer embed` wrote.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Where the report goes; default FOLDER/analysis.")] = None,
    neighbours_of: Annotated[
        str | None, typer.Option(metavar="NAME", help="List what is most like this recording.")
    ] = None,
) -> None:
    """Show what embeddings hold: projections, clusters, likeness, a linear probe, in one report."""
    from streamer.commands.analyze import run_analyze

    run_analyze(folder, out=out, neighbours_of=neighbours_of)
