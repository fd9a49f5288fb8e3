"""Look around while a monitor runs: at its publishers, the mutes on disk, and the memory it could give back."""

import threading
import time

from streamer.monitor.roster import Roster
from streamer.pipeline.broker_view import BrokerWatch
from streamer.pipeline.memory import return_freed_memory

LOOK_S = 0.25  # between two looks at the broker's connection and at the mutes on disk
TRIM_S = 60.0  # between two returns of freed memory


def look_around(roster: Roster, publishers: BrokerWatch, stopping: threading.Event) -> None:
    """Look again and again, until `stopping` is set."""
    trim_at = time.monotonic() + TRIM_S
    while True:
        if time.monotonic() >= trim_at:
            return_freed_memory()
            trim_at = time.monotonic() + TRIM_S
        roster.mutes.follow(roster.sources)
        publishers.look()
        if stopping.wait(LOOK_S):
            return
