"""What a network source is read through, whatever carries it: the values, and the error that says why it is lost."""

from dataclasses import dataclass
from typing import Protocol

from streamer.audio.resample import Block
from streamer.errors import StreamerError

OPEN_TIMEOUT_S = 5.0  # a host that does not answer: a camera that boots, a firewall that drops
READ_TIMEOUT_S = 3.0  # a server that is silent: a half-open connection never ends by itself
UNKNOWN_HOST = "has a host that is not known; check its name"


class ConnectionLostError(StreamerError):
    """A connection failed or ended; the message is half a sentence, without any credentials.

    `permanent`: waiting does not help (wrong password, wrong path, no audio track), so it is tried again seldom.
    """

    def __init__(self, reason: str, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


@dataclass(frozen=True, slots=True)
class Received:
    """Consecutive frames of a connection."""

    frames: Block  # [n, channels]; n = 0: nothing came for a while, and the connection is kept
    rate_hz: float
    broken: bool = False  # audio was lost before these frames


class Connection(Protocol):
    """An open connection. Its methods block, for `READ_TIMEOUT_S` at the most, and are called from one thread."""

    length_s: float | None  # of a recording; None: it is live
    on_demand: bool  # the server delivers as fast as it is read: a recording, or segments of HLS

    def read(self) -> Received | None:
        """Return the next frames; None at the end of the stream.

        Raises:
            ConnectionLostError: it broke, or nothing came for too long.
        """
        ...

    def close(self) -> None:
        """Release it."""
        ...
