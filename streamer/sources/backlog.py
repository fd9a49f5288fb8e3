"""Notice audio that arrives faster than real time for seconds: what a server had stored up, and not the present."""

from collections import deque

SPAN_S = 10.0  # longer than any stall that is not a loss: audio that only came late is no backlog
CAUGHT_UP_S = 0.3  # audio that arrives at the pace of the clock for this long is the present
LONGEST_JUMP_S = 2.0  # of wall time: a sender that never keeps the pace of real time is not dropped whole


class Backlog:
    """Measures how far a connection's audio is ahead of the wall clock, and says which audio to jump over.

    A clock that runs 0.01 % fast, as sound cards do, is 1 ms ahead after `SPAN_S`, and never a backlog.
    """

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s  # audio may be ahead by so much
        self._marks: deque[tuple[float, float]] = deque()  # (arrival, seconds of audio before it)
        self._audio_s = 0.0
        self._jumping_since: float | None = None

    def jumps_over(self, length_s: float, arrived_s: float) -> bool:
        """Return whether to drop a block of `length_s` that arrived at `arrived_s`."""
        self._marks.append((arrived_s, self._audio_s))
        self._audio_s += length_s
        while arrived_s - self._marks[0][0] > SPAN_S:
            self._marks.popleft()
        if self._jumping_since is None:
            if self._ahead_s(arrived_s) > self._most_s:
                self._jumping_since = arrived_s
        elif self._is_present(arrived_s) or arrived_s - self._jumping_since > LONGEST_JUMP_S:
            self._jumping_since = None
            self._marks = deque([(arrived_s, self._audio_s - length_s)])
        return self._jumping_since is not None

    def _ahead_s(self, now: float) -> float:
        since_s, before_s = self._marks[0]
        return (self._audio_s - before_s) - (now - since_s)

    def _is_present(self, now: float) -> bool:
        """Return whether the audio of the last moments came at the pace of the clock."""
        assert self._jumping_since is not None
        if now - self._jumping_since < CAUGHT_UP_S:
            return False
        recent = [before_s for arrived_s, before_s in self._marks if now - arrived_s <= CAUGHT_UP_S]
        return self._audio_s - recent[0] <= 2 * CAUGHT_UP_S
