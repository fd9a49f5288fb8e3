"""Mute the streams of a monitor, and show on its board which are muted."""

from collections.abc import Mapping

from streamer.feed.board import Board
from streamer.sources.muting import Mute, MutedBy, Muting
from streamer.sources.source import Source


class Mutes:
    """The mutes of a monitor's streams. For any thread."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._muting = Muting()

    def get(self, stream: str) -> Mute | None:
        """Return by whom `stream` is muted, and since when; None where it is not."""
        return self._muting.get(stream)

    def sentence(self, stream: str) -> str:
        """Return a sentence on the mute of `stream`; empty where it is not muted."""
        mute = self.get(stream)
        return mute.sentence(stream) if mute else ""

    def show(self, stream: str) -> None:
        """Show on the board whether `stream` is muted."""
        self._board.muted(stream, self.sentence(stream))

    def mute(self, source: Source, muted: bool, by: MutedBy) -> None:
        """Mute or unmute `source`, for later monitors too.

        Raises:
            StreamerError: it is done, but cannot be kept on disk; or it cannot be lifted there, and stays muted.
        """
        try:
            if muted:
                self._muting.mute(source, by)
            else:
                self._muting.lift(source)
        finally:
            self.show(source.name)

    def adopt(self, source: Source) -> None:
        """Mute a source that is new, not started yet, where the disk says so.

        Raises:
            StreamerError: the disk cannot be read, so the source must not be captured.
        """
        self._muting.adopt(source)

    def mute_alike(self, source: Source) -> None:
        """Mute a source that takes the place of one that is muted."""
        if self.get(source.name):
            source.mute(True)

    def forget(self, stream: str) -> None:
        """Forget a stream that was removed; the disk keeps its mute."""
        self._muting.forget(stream)

    def follow(self, sources: Mapping[str, Source]) -> None:
        """Mute and unmute what was changed on disk by others."""
        for stream in self._muting.follow(sources):
            self.show(stream)
