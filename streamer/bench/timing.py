"""What all measurements of steps share: a clock, ranks, threads, and the matrix product to scale by."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from statistics import median

import torch

MATRIX = 1024  # rows and columns of the product's matrices
MATRIX_TURNS = 10


def time_ms(call: Callable[[], object]) -> float:
    """The wall time of one call in milliseconds."""
    begin = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begin)


def nearest_rank(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` of them do not exceed."""
    return sorted(values)[ceil(share * len(values)) - 1]


@contextmanager
def cpu_threads(threads: int) -> Iterator[None]:
    """torch with so many threads; what was set before is set again in the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def matrix_gflops(device: torch.device) -> float:
    """Billions of operations a second of a float32 product of two 1,024 x 1,024 matrices, median."""
    a, b = torch.randn(2, MATRIX, MATRIX, device=device)

    def multiply() -> None:
        torch.mm(a, b)
        wait_for(device)

    multiply()
    return 2 * MATRIX**3 / 1e6 / median(time_ms(multiply) for _ in range(MATRIX_TURNS))


def wait_for(device: torch.device) -> None:
    """Until everything that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
