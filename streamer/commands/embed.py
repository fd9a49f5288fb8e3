"""`streamer embed`: turn recordings into arrays of EnCodec embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.analysis.settings import Kind
from streamer.commands.on_ray import OBJECT_STORE_MB, OnRay, RayAddress, RayChoice, chosen_ray
from streamer.commands.options import Device, Threads
from streamer.errors import StreamerError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from streamer.analysis.discover import Recording
    from streamer.analysis.embed import Embedded, Outcome, Runner
    from streamer.analysis.embedder import Embedder
    from streamer.analysis.statistics import Statistics, VarianceExplained

CACHE_FOLDER = ".cache"
PARQUET = ".parquet"


def embed(
    paths: Annotated[list[Path], typer.Argument(help="Recordings, or folders of them.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder to write, or a file that ends in .parquet.", show_default=False),
    ],
    model: Annotated[
        str, typer.Option(help="bundled | measured | pretrained (EnCodec's own weights) | a file.")
    ] = "bundled",
    kind: Annotated[
        Kind, typer.Option(help="Embeddings before the quantiser, after it, or the codes themselves.")
    ] = "encoder",
    bandwidth: Annotated[
        float | None,
        typer.Option(metavar="KBPS", help="With quantized and codes: 1.5, 3, 6, 12 or 24. Default: 6."),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(help="Pooling of frames into one row: mean | max | attention | learned | multi. Default: mean."),
    ] = None,
    frames: Annotated[
        bool, typer.Option("--frames", help="Keep every frame, 75 a second, instead of pooling.")
    ] = False,
    level: Annotated[
        bool | None,
        typer.Option(
            "--level/--no-level",
            help="Apply the level normaliser. Default: as the model was trained (on, but off for pretrained).",
        ),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="CSV file with the columns path,label,speaker. Default: none.")
    ] = None,
    track: Annotated[int, typer.Option(min=0, help="Audio track of recordings that have several, counted from 0.")] = 0,
    device: Device = "auto",
    threads: Threads = None,
    on_ray: OnRay = False,
    address: RayAddress = None,
) -> None:
    """Compute EnCodec embeddings of recordings.

    Writes NumPy arrays and a CSV file. An interrupted run goes on where it stopped.

    \b
    Examples:
      streamer embed recordings -o embeddings
      streamer embed recordings -o all.parquet --kind codes --bandwidth 6
      streamer embed /shared/corpus -o /shared/embeddings --ray --address auto
    """
    options = EmbedOptions(
        model=model,
        kind=kind,
        pool=pool,
        frames=frames,
        bandwidth=bandwidth,
        level=level,
        table=table,
        track=track,
        device=device,
        threads=threads,
    )
    run_embed(paths, out, options, chosen_ray(on_ray, address))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedOptions:
    """What to compute, with which model, and where."""

    model: str = "bundled"  # or `measured`, `pretrained`, a file
    kind: Kind = "encoder"
    pool: str | None = None  # how frames become one row; None: `mean`
    frames: bool = False  # keep every frame instead; codes are always kept so
    bandwidth: float | None = None  # kbit/s, for `quantized` and `codes`
    # Whether the level normaliser comes first. None: for this program's checkpoints, which were trained behind it, but
    # not for EnCodec's own weights.
    level: bool | None = None
    table: Path | None = None  # CSV file with the columns path, label and perhaps speaker
    track: int = 0  # audio track of each recording, counted from 0
    device: str = "auto"
    threads: int | None = None  # of the CPU; None: torch's choice


_DEFAULTS = EmbedOptions()


def run_embed(
    paths: Sequence[Path], out: Path, options: EmbedOptions = _DEFAULTS, on_ray: RayChoice | None = None
) -> None:
    """Embed every recording under `paths` and write `out`, a folder or one `.parquet` file.

    Args:
        paths: folders and files; may be empty with a table.
        out: rows of an earlier run are reused where recording, model and settings are the same.
        options: see there.
        on_ray: the cluster whose machines compute; None: this process does.

    Raises:
        UsageError: the options contradict each other, there is no recording, or another embed works on that set.
        StreamerError: not one recording could be embedded; or, when all is written, some could not be read whole.
    """
    from streamer.analysis.discover import find_recordings, label_sources
    from streamer.commands.screen import Screen
    from streamer.folder_claims import claimed_cache

    if options.frames and options.pool is not None:
        raise UsageError("--frames keeps every frame and --pool makes one row of them; give one of the two.")
    recordings = find_recordings(paths, options.table)
    screen = Screen(stderr=True)
    screen.print(label_sources(recordings), highlight=False, markup=False, soft_wrap=True)
    with claimed_cache(_folder(out) / CACHE_FOLDER):
        _embed(recordings, out, options, on_ray, screen)


def _embed(
    recordings: Sequence[Recording], out: Path, options: EmbedOptions, on_ray: RayChoice | None, screen: Console
) -> None:
    from streamer.analysis.cache import RowCache
    from streamer.analysis.dataset import read_set, write_parquet, write_set
    from streamer.analysis.embed import embed_recordings
    from streamer.analysis.statistics import statistics
    from streamer.commands.progress_bars import AudioProgress

    embedder, title = _embedder(options)
    folder = _folder(out)
    key = embedder.key if not options.track else f"{embedder.key}-track-{options.track}"
    with RowCache(folder / CACHE_FOLDER, key) as cache, ExitStack() as stack:
        runner = _runner(options, folder / CACHE_FOLDER / f"{key}.parts", on_ray, stack)
        try:
            with AudioProgress(screen) as progress:
                outcome = embed_recordings(recordings, embedder, cache, progress, options.track, runner)
        except KeyboardInterrupt:
            screen.print("Interrupted. What was computed is kept: the same command goes on from here.")
            raise
        _print_notes(outcome, screen)
        if not outcome.embedded:
            raise StreamerError(
                f"None of the {len(recordings)} recordings could be embedded; the reasons are above, by recording."
            )
        if out.suffix == PARQUET:
            write_parquet(out, outcome.embedded, cache)
        write_set(folder, outcome.embedded, outcome.failures, cache, embedder.settings, title)
    written = read_set(folder)
    numbers = statistics(written.embeddings, written.owners, written.labels, written.speakers, written.corpora)
    _print_result(out, outcome, title, numbers)
    unread = len(outcome.failures) + sum(bool(item.facts.damage) for item in outcome.embedded)
    if unread:
        raise StreamerError(
            f"{unread} of {len(recordings)} recordings could not be read, or not whole; all that could be read is "
            f"written, and the reasons are above, by recording."
        )


def _runner(options: EmbedOptions, parts: Path, on_ray: RayChoice | None, stack: ExitStack) -> Runner | None:
    """Return what computes on the machines of a cluster; None: this process does."""
    if on_ray is None:
        return None
    from streamer.analysis.embed_on_ray import RayRunner, Work
    from streamer.fleet.cluster import connected

    stack.enter_context(connected(on_ray.address, object_store_mb=OBJECT_STORE_MB))
    return RayRunner(Work(partial(_embedder_alone, options), parts.absolute(), options.track, options.threads or 1))


def _embedder_alone(options: EmbedOptions) -> Embedder:
    return _embedder(options)[0]


def _embedder(options: EmbedOptions) -> tuple[Embedder, str]:
    """Return what computes the rows, and the model's title."""
    import torch

    from streamer.analysis.embedder import Embedder
    from streamer.analysis.embedding_model import load_embedding_model
    from streamer.analysis.settings import EmbedSettings
    from streamer.codec.device import choose_device

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    pool = None if options.frames or options.kind == "codes" else options.pool or "mean"
    if options.kind == "codes" and options.pool is not None:
        pool = options.pool  # refused with the reason
    model = load_embedding_model(options.model)
    level = model.level_normalized if options.level is None else options.level
    settings = EmbedSettings(options.kind, pool, options.bandwidth, level)
    return Embedder(model, settings, choose_device(options.device)), model.title


def _folder(out: Path) -> Path:
    """Return the folder of the cache: `out` itself, or one beside the Parquet file; make it if it is missing."""
    folder = out.with_name(out.stem) if out.suffix == PARQUET else out
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; give -o the name of a folder, or of a file that ends in {PARQUET}.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made ({error.strerror}); give -o another place.") from error
    return folder


def _print_notes(outcome: Outcome, screen: Console) -> None:
    """Print what was converted or streamed, then what failed: a line each."""
    for item in outcome.embedded:
        notes = _notes(item)
        if notes:
            screen.print(f"{item.recording.name}: {notes}.", highlight=False, markup=False, soft_wrap=True)
    if outcome.failures:
        count = len(outcome.failures) + len(outcome.embedded)
        screen.print(f"{len(outcome.failures)} of {count} recordings could not be embedded:")
    for failure in outcome.failures:
        screen.print(f"  {failure.name} {failure.reason}.", highlight=False, markup=False, soft_wrap=True)


def _notes(item: Embedded) -> str:
    """Return what may matter of how a recording was read."""
    from streamer.analysis.embed import LONG_SAMPLES

    streamed = f"{item.facts.seconds / 60:,.1f} minutes were streamed" if item.facts.samples > LONG_SAMPLES else ""
    return "; ".join(note for note in (item.facts.note, streamed) if note)


def _print_result(out: Path, outcome: Outcome, title: str, numbers: Statistics) -> None:
    """Print the statistics on standard output."""
    from rich.table import Table

    from streamer.commands.screen import Screen

    console = Screen(soft_wrap=True)
    minutes = sum(item.facts.seconds for item in outcome.embedded) / 60
    shape = f"{numbers.rows:,} x {numbers.width}"
    table = Table(title=f"{title}: {shape}", show_header=False, title_justify="left")
    table.add_row("recordings", f"{len(outcome.embedded):,} of {minutes:,.1f} minutes, {outcome.reused:,} as before")
    for label, count in numbers.per_label.items():
        table.add_row(f"  {label or 'without a label'}", f"{count:,}")
    if numbers.norms is not None:
        norms = numbers.norms
        spread = f"{norms.mean:.3g} ± {norms.deviation:.2g}, from {norms.smallest:.3g} to {norms.largest:.3g}"
        table.add_row("norm of a row", spread)
        table.add_row("variance explained by label", _explained(numbers.by_label))
        table.add_row("variance explained by speaker", _explained(numbers.by_speaker))
        if numbers.by_corpus is not None:
            table.add_row("variance explained by corpus", _explained(numbers.by_corpus))
    console.print(table)
    console.print(f"Written: {out}", markup=False)


def _explained(explained: VarianceExplained | None) -> str:
    if explained is None:
        return "not known: it takes two groups or more"
    return f"{explained.share:.1%} (by chance {explained.by_chance:.1%}; {explained.groups} groups)"
