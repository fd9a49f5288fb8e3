"""What runs in PortAudio's callback: copy, count, note the time, return."""

from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt

from streamer.audio.clock import Clock


@dataclass(frozen=True, slots=True)
class CapturedBlock:
    """One callback's audio."""

    frames: npt.NDArray[np.float32]  # [n, channels], a copy
    arrived_s: float  # monotonic moment of the callback
    overflow: bool  # PortAudio lost audio before this block, how much is not known


class Capture:
    """The callback of one opened device; another thread takes `blocks`."""

    def __init__(self, clock: Clock) -> None:
        self.blocks: SimpleQueue[CapturedBlock] = SimpleQueue()
        self.called_s: float | None = None  # monotonic moment of the newest callback
        self._clock = clock

    def callback(self, indata: npt.NDArray[np.float32], frames: int, time: Any, status: Any) -> None:
        """PortAudio hands over `indata` ([frames, channels] float32), which stays its own memory."""
        now = self._clock.monotonic()
        self.blocks.put(CapturedBlock(indata.copy(), now, bool(status.input_overflow)))
        self.called_s = now
