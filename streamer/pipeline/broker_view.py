"""Show on a board what publishers say of their connections."""

from collections.abc import Sequence

from streamer.feed.board import Board
from streamer.feed.snapshot import BrokerStatus, BrokerView
from streamer.publish.publisher import Publisher, PublisherStats


class BrokerWatch:
    """Keeps the board's view of the publisher that has a broker, and logs what publishers have to say, once each."""

    def __init__(self, board: Board, publishers: Sequence[Publisher]) -> None:
        self._board = board
        self._publishers = publishers
        self._said: set[str] = set()

    def look(self) -> list[PublisherStats]:
        """Look at all publishers now, and return what they say of themselves."""
        all_stats = [publisher.stats() for publisher in self._publishers]
        for stats in all_stats:
            if stats.notice and stats.notice not in self._said:
                self._said.add(stats.notice)
                self._board.log("note", stats.notice)
            if "://" in stats.url:
                self._board.broker(_view(stats))
        return all_stats


def _view(stats: PublisherStats) -> BrokerView:
    status: BrokerStatus = "online" if stats.online else "offline" if stats.detail else "connecting"
    return BrokerView(stats.url, status, stats.detail, stats.sent, stats.queued, stats.shed, refused=stats.refused)
