"""The sink of a monitor's worker: everything on the board, events to the publishers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Unpack

from streamer.events import Event, Info, Status
from streamer.feed.board import Board
from streamer.feed.snapshot import StreamDetails
from streamer.publish.publisher import Publisher


@dataclass(frozen=True, slots=True)
class BoardSink:
    """A `WorkerSink` that shows all results on the board and publishes the events."""

    board: Board
    publishers: Sequence[Publisher]
    describe: Callable[[tuple[str, ...]], Info]  # the info message for the streams of these names
    meters: bool = True  # put input levels on the board

    def event(self, event: Event) -> None:
        """Show and publish one event."""
        self.board.event(event)
        for publisher in self.publishers:
            publisher.publish(event)

    def status(self, stream: str, status: Status, detail: str, device: str) -> None:
        """Show the status."""
        self.board.status(stream, status, detail, device)

    def update(self, stream: str, **details: Unpack[StreamDetails]) -> None:
        """Show the details."""
        self.board.update(stream, **details)

    def note(self, stream: str | None, text: str) -> None:
        """Log the sentence."""
        self.board.log("note", text, stream)

    def stream_removed(self, stream: str) -> None:
        """Remove the stream from the screen."""
        self.board.forget(stream)

    def roster_changed(self, streams: tuple[str, ...]) -> None:
        """Show and publish what is running now."""
        self.event(self.describe(streams))
