"""Embed recordings into the row cache: resumable, in bounded memory, skipping recordings that cannot be read."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from streamer.analysis.cache import RowCache, Rows
from streamer.analysis.discover import Recording
from streamer.analysis.embedder import Embedder
from streamer.arrays import Samples
from streamer.constants import SAMPLE_RATE
from streamer.decoding.files import Facts, UnreadableError, read_blocks, read_facts, read_whole

LONG_SAMPLES = 60 * SAMPLE_RATE  # 60 s; longer recordings are streamed, so that memory does not grow with their length


@dataclass(frozen=True, slots=True)
class Failure:
    """A recording that could not be embedded, and the reason: `name reason` is a sentence."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Embedded:
    """One recording whose rows are in the cache."""

    recording: Recording
    facts: Facts


@dataclass(slots=True)
class Outcome:
    """Result of a run, in the order in which the recordings were given."""

    embedded: list[Embedded] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    track: int = 0  # audio track of each recording, counted from 0
    reused: int = 0  # number of `embedded` recordings that were in the cache already


class Progress(Protocol):
    """Receives progress in seconds of audio."""

    def begin(self, seconds: float) -> None:
        """Start, with `seconds` to encode in all."""
        ...

    def advance(self, seconds: float) -> None:
        """Report that `seconds` more were encoded."""
        ...


class Runner(Protocol):
    """Computes the rows of batches somewhere else than in this process, and stores them in the cache."""

    def __call__(
        self, batches: Sequence[Sequence[Embedded]], cache: RowCache, progress: Progress
    ) -> Iterator[tuple[str, str]]:
        """Store the rows of all batches; yield (sha256, reason) for every recording that is unreadable."""
        ...


def embed_recordings(
    recordings: Sequence[Recording],
    embedder: Embedder,
    cache: RowCache,
    progress: Progress,
    track: int = 0,
    runner: Runner | None = None,
) -> Outcome:
    """Compute the rows of every readable recording that `cache` lacks, and store them in it; `cache` must be open.

    A damaged recording is embedded as far as it can be read. `track` is the audio track, counted from 0; rows of
    another track than the first belong into a cache of their own. Without a `runner` they are computed here.
    """
    outcome = Outcome(track=track)
    readable = list(_readable(recordings, outcome))
    cache.forget_damaged({item.facts.sha256 for item in readable})
    unique = {item.facts.sha256: item for item in readable}
    outcome.reused = sum(item.facts.sha256 in cache for item in readable)
    progress.begin(sum(item.facts.seconds for item in unique.values() if item.facts.sha256 not in cache))
    broken: dict[str, str] = {}  # by sha256
    batches = (
        [item for item in planned if item.facts.sha256 not in cache]
        for planned in plan_batches(unique.values(), embedder.batch_size)
    )
    if runner is not None:
        broken.update(runner([batch for batch in batches if batch], cache, progress))
    else:
        for batch in batches:
            if batch:
                broken.update(embed_batch(batch, embedder, cache, progress, track))
    for item in readable:
        if item.facts.sha256 in cache:
            outcome.embedded.append(item)
        else:
            outcome.failures.append(Failure(item.recording.name, broken[item.facts.sha256]))
    return outcome


def plan_batches(items: Iterable[Embedded], batch_size: int) -> Iterator[list[Embedded]]:
    """Yield the items sorted by length, in batches of `batch_size`; long ones form a batch of one.

    The batches depend only on the items, so that a repeated run forms the same ones: rows are bit-identical only within
    the same batch.
    """
    batch: list[Embedded] = []
    for item in sorted(items, key=lambda item: (item.facts.samples, item.facts.sha256)):
        alone = item.facts.samples > LONG_SAMPLES
        if batch and (alone or len(batch) == batch_size):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _readable(recordings: Sequence[Recording], outcome: Outcome) -> Iterator[Embedded]:
    """Yield the recordings whose header can be read; append the others to the failures."""
    for recording in recordings:
        try:
            yield Embedded(recording, read_facts(recording.path, outcome.track))
        except UnreadableError as error:
            outcome.failures.append(Failure(recording.name, str(error)))


class Store(Protocol):
    """Where computed rows go."""

    def put(self, recordings: Iterable[tuple[str, Iterable[Rows]]]) -> None:
        """Store the rows of recordings, each given as its SHA-256 and pieces `[n, D]`."""
        ...


def embed_batch(
    batch: Sequence[Embedded], embedder: Embedder, cache: Store, progress: Progress, track: int
) -> Iterator[tuple[str, str]]:
    """Store the rows of a batch; yields (sha256, reason) for every recording that turns out to be unreadable."""
    if batch[0].facts.samples > LONG_SAMPLES:
        (item,) = batch
        try:
            cache.put([(item.facts.sha256, embedder.streamed(_reported_blocks(item, progress, track)))])
        except UnreadableError as error:
            yield item.facts.sha256, str(error)
        return
    whole, samples = [], []
    for item in batch:
        try:
            samples.append(read_whole(item.recording.path, track))
            whole.append(item)
        except UnreadableError as error:
            yield item.facts.sha256, str(error)
    if whole:
        rows = embedder.whole(samples)
        cache.put((item.facts.sha256, [computed]) for item, computed in zip(whole, rows, strict=True))
    progress.advance(sum(item.facts.seconds for item in batch))


def _reported_blocks(item: Embedded, progress: Progress, track: int) -> Iterator[Samples]:
    """Yield the blocks of one long recording, and report each once it was used."""
    for block in read_blocks(item.recording.path, track):
        yield block
        progress.advance(len(block) / SAMPLE_RATE)
