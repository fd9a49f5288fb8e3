"""`streamer embed`: a folder of recordings to arrays."""

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from streamer.analysis.cache import RowCache
from streamer.analysis.dataset import read_set, write_parquet, write_set
from streamer.analysis.discover import find_recordings
from streamer.analysis.embed import LONG_SAMPLES, Embedded, Outcome, embed_recordings
from streamer.analysis.embedder import Embedder
from streamer.analysis.embedding_model import load_embedding_model
from streamer.analysis.settings import EmbedSettings, Kind
from streamer.analysis.statistics import Statistics, VarianceExplained, statistics
from streamer.codec.device import choose_device
from streamer.errors import StreamerError, UsageError

CACHE_FOLDER = ".cache"
PARQUET = ".parquet"


def run_embed(
    paths: Sequence[Path],
    out: Path,
    *,
    model: str = "bundled",
    kind: Kind = "encoder",
    pool: str | None = None,
    frames: bool = False,
    bandwidth: float | None = None,
    level: bool | None = None,
    table: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> None:
    """Embeds every recording under `paths` and writes `out`, a folder or one `.parquet` file.

    Args:
        paths: folders and files; may be empty with a `table`.
        out: what it holds from an earlier run is reused where recording, model and settings are the same.
        model: `bundled`, `measured`, `pretrained`, or a file.
        kind: `encoder`, `quantized` or `codes`.
        pool: how frames become one row (`mean`, if None).
        frames: keep every frame instead; codes are always kept so.
        bandwidth: kbit/s, for `quantized` and `codes`.
        level: whether the level normaliser comes first. If None: for this program's checkpoints, which were trained
            behind it, but not for EnCodec's own weights.
        table: CSV file with the columns path, label and perhaps speaker.
        device: `auto`, `cpu`, `cuda` or `mps`.
        threads: for the CPU (torch's choice, if None).

    Raises:
        UsageError: the arguments do not fit together, or there is no recording.
        StreamerError: not one recording could be embedded.
    """
    if frames and pool is not None:
        raise UsageError("--frames keeps every frame and --pool makes one row of them; give one of the two.")
    chosen = None if frames or kind == "codes" else pool or "mean"
    if kind == "codes" and pool is not None:
        chosen = pool  # refused with the reason
    if threads is not None:
        torch.set_num_threads(threads)
    recordings = find_recordings(paths, table)
    source = load_embedding_model(model)
    settings = EmbedSettings(kind, chosen, bandwidth, source.level_normalized if level is None else level)
    embedder = Embedder(source, settings, choose_device(device))
    folder = _folder(out)
    screen = Console(stderr=True)
    with RowCache(folder / CACHE_FOLDER, embedder.key) as cache:
        try:
            with _ProgressBar(screen) as progress:
                outcome = embed_recordings(recordings, embedder, cache, progress)
        except KeyboardInterrupt:
            screen.print("Interrupted. What was done is kept: the same command goes on from here.")
            raise
        _tell_notes(outcome, screen)
        if not outcome.embedded:
            raise StreamerError(
                f"None of the {len(recordings)} recordings could be embedded; the reasons are above, by recording."
            )
        if out.suffix == PARQUET:
            write_parquet(out, outcome.embedded, cache)
        write_set(folder, outcome.embedded, outcome.failures, cache, settings, source.title)
    written = read_set(folder)
    numbers = statistics(written.embeddings, written.owners, written.labels, written.speakers)
    _tell_result(out, outcome, source.title, numbers)


def _folder(out: Path) -> Path:
    """Where the cache goes: into the folder, or beside the Parquet file."""
    folder = out.with_name(out.stem) if out.suffix == PARQUET else out
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; give -o the name of a folder, or of a file that ends in {PARQUET}.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made ({error.strerror}); give -o another place.") from error
    return folder


class _Rate(ProgressColumn):
    """How much faster than real time."""

    def render(self, task: Task) -> Text:
        return Text("" if not task.speed else f"{task.speed:.1f} x real time", style="progress.data.speed")


class _ProgressBar:
    """Seconds of sound on their way through the encoder."""

    def __init__(self, console: Console) -> None:
        # The speed of the last half minute: one batch alone says little.
        self._progress = Progress(
            TextColumn("embedding"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} s of sound"),
            _Rate(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=30,
        )

    def __enter__(self) -> "_ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, seconds: float) -> None:
        if seconds:
            self._task = self._progress.add_task("", total=seconds)
            self._progress.start()

    def advance(self, seconds: float) -> None:
        self._progress.advance(self._task, seconds)


def _tell_notes(outcome: Outcome, screen: Console) -> None:
    """What was converted or streamed, then what failed: a line each."""
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
    """What happened to a recording on its way that may matter."""
    streamed = f"{item.facts.seconds / 60:,.1f} minutes were streamed" if item.facts.samples > LONG_SAMPLES else ""
    return "; ".join(note for note in (item.facts.note, streamed) if note)


def _tell_result(out: Path, outcome: Outcome, title: str, numbers: Statistics) -> None:
    """The statistics, on standard output."""
    console = Console(soft_wrap=True, highlight=False)
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
    console.print(table)
    console.print(f"Written: {out}", markup=False)


def _explained(explained: VarianceExplained | None) -> str:
    if explained is None:
        return "not known: it takes two or more"
    return f"{explained.share:.1%} (by chance {explained.by_chance:.1%}; {explained.groups} groups)"
