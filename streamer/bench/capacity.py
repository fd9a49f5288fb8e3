"""The largest number of streams that one machine encodes in real time."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from streamer.codec.kernels import Precision

OnTried = Callable[["CapacityRow"], None]


@dataclass(frozen=True, slots=True)
class CapacityRow:
    """One number of streams. Times are of one step of all of them together."""

    streams: int
    step_p50_ms: float
    step_p99_ms: float
    real_time: bool  # p99 below the hop


@dataclass(frozen=True, slots=True)
class Capacity:
    """What was tried, in rising order, and the largest number that held."""

    device: str  # its name
    precision: Precision
    threads: int  # of the CPU
    hop_ms: float
    gflops: float  # of a float32 matrix product of 1,024 x 1,024 x 1,024 on the same device, median
    largest: int  # 0 where not even one stream holds
    at_limit: bool  # the search ended at its limit; there may be room for more
    rows: tuple[CapacityRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def largest(
    *,
    hop_frames: int = 18,
    device: str = "cpu",
    precision: Precision = "float32",
    threads: int = 1,
    steps: int = 100,
    limit: int = 4096,
    on_tried: OnTried | None = None,
) -> Capacity:
    """Doubles the streams until a step's p99 exceeds the hop, then halves the interval in between.

    Args:
        hop_frames: every stream gives so many frames of 13.3 ms a step.
        device: as torch names it; `auto` is resolved by the caller.
        precision: as `model.precision`.
        threads: for torch on the CPU; what was set before is set again in the end.
        steps: timed for each number of streams, at least 1; p99 is the nearest rank.
        limit: no more streams than that are tried.
        on_tried: told each row as soon as it is measured.

    Raises:
        UsageError: the precision is not to be had on this device.
    """
    raise NotImplementedError
