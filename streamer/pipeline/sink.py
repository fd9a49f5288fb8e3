"""Where the worker's results go."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Unpack

from streamer.events import Event, Status
from streamer.feed.snapshot import StreamDetails


class WorkerSink(Protocol):
    """What the worker reports to, in its own thread.

    Every method returns at once: the worker never waits for the screen, the broker or the disk. Only the reader of a
    `--fast` run, which asks to lose nothing, may hold up `event`.
    """

    @property
    def meters(self) -> bool:
        """Whether input levels are shown; where not, nothing is metered."""
        ...

    def event(self, event: Event) -> None:
        """Take one event of one stream, to be shown and published."""
        ...

    def status(self, stream: str, status: Status, detail: str, device: str) -> None:
        """Take the stream's status word, its sentence and its device; called at every tick."""
        ...

    def update(self, stream: str, **details: Unpack[StreamDetails]) -> None:
        """Take details that only a local screen shows; those that are not given stay as they were."""
        ...

    def note(self, stream: str | None, text: str) -> None:
        """Take a sentence for the log; without a stream it concerns all."""
        ...

    def stream_removed(self, stream: str) -> None:
        """Forget the stream: it was removed, and nothing more comes of it."""
        ...

    def roster_changed(self, streams: tuple[str, ...]) -> None:
        """Take the names of all streams, because one came, went, or has a new voice profile."""
        ...


@dataclass(frozen=True, slots=True)
class EventSink:
    """A `WorkerSink` that passes events on and drops everything else."""

    publish: Callable[[Event], None]
    meters: bool = False

    def event(self, event: Event) -> None:
        """Pass `event` on."""
        self.publish(event)

    def status(self, stream: str, status: Status, detail: str, device: str) -> None:
        """Drop it: health events carry the status."""

    def update(self, stream: str, **details: Unpack[StreamDetails]) -> None:
        """Drop them."""

    def note(self, stream: str | None, text: str) -> None:
        """Drop it."""

    def stream_removed(self, stream: str) -> None:
        """Drop it."""

    def roster_changed(self, streams: tuple[str, ...]) -> None:
        """Drop it."""
