"""The campaign's table: what, how many, lost, doubled, crashed, hung, slowest."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from streamer.errors import StreamerError
from streamer.plain_text import sentence

HANGS_S = 10.0
SEED = os.environ.get("CHAOS_SEED", "27")  # another one gives another campaign; pieces of a long one take one each


@dataclass
class Row:
    """One line of the table."""

    what: str
    count: int = 0
    lost: int = 0
    doubled: int = 0
    crashed: int = 0
    hung: int = 0
    slowest_s: float = 0.0
    worst: str = ""  # the first crash, to look into

    def attempt(self, action: Callable[[], object], describe: Callable[[], str] = str) -> None:
        """Run `action`: it may succeed, or fail with one sentence; anything else is a crash."""
        self.count += 1
        began = time.monotonic()
        try:
            action()
        except StreamerError as error:
            if not sentence(error):  # as it is shown
                self.crash(f"not a sentence: {error!r}", describe)
        except Exception as error:
            self.crash(repr(error)[:200], describe)
        took = time.monotonic() - began
        self.slowest_s = max(self.slowest_s, took)
        self.hung += took > HANGS_S

    def crash(self, why: str, describe: Callable[[], str] = str) -> None:
        """Count a crash, and keep the first."""
        self.crashed += 1
        self.worst = self.worst or f"{why} {describe()}"

    def check(self) -> None:
        """Print the row; fail where anything went wrong."""
        print(
            f"\n| {self.what} | {self.count:,} | {self.lost} | {self.doubled} | {self.crashed} | {self.hung} | "
            f"{self.slowest_s:.2f} s |"
        )
        assert (self.lost, self.doubled, self.crashed, self.hung) == (0, 0, 0, 0), self.worst
