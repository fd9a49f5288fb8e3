"""Shared by the measurements of encoder steps: a clock, the number of threads, and a matrix product to scale by."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import torch

MATRIX = 1024  # rows and columns of the product's matrices
MATRIX_ROUNDS = 10


def time_ms(call: Callable[[], object]) -> float:
    """Return the wall time of one call in milliseconds."""
    begin = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begin)


@contextmanager
def cpu_threads(threads: int) -> Iterator[None]:
    """Run torch with `threads` CPU threads; the number that was set before is restored at the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def matrix_gflops(device: torch.device) -> float:
    """Measure a float32 product of two 1,024 x 1,024 matrices: median, in 10^9 operations a second."""
    a, b = torch.randn(2, MATRIX, MATRIX, device=device)

    def multiply() -> None:
        torch.mm(a, b)
        synchronize(device)

    multiply()
    return 2 * MATRIX**3 / 1e6 / median(time_ms(multiply) for _ in range(MATRIX_ROUNDS))


def synchronize(device: torch.device) -> None:
    """Block until the device has finished all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
