"""Use the processor's cores in training: work side by side, the next batch ahead of time, and memory that is kept."""

import ctypes
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

# glibc's options of mallopt: no allocation has a mapping of its own, the heap never shrinks, and all threads share it.
_MALLOPT = ((-4, 0), (-1, 2**31 - 1), (-8, 1))


_workers: ContextVar[int | None] = ContextVar("workers", default=None)


def workers() -> int:
    """Return how many threads work side by side: as many as torch computes with, or did before `alone`."""
    return _workers.get() or torch.get_num_threads()


@contextmanager
def alone() -> Iterator[None]:
    """Let torch compute every operation by one thread, within; only `map_in_threads` uses all.

    Threads that share an operation wait for each other in busy loops. Where other programs use the processor too, that
    takes several times the processor time of one thread.
    """
    count = torch.get_num_threads()
    token = _workers.set(workers())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)
        _workers.reset(token)


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Map items by `workers()` threads, each item by one of them.

    Every thread computes by itself: there is nothing to wait for until all are done, unlike within torch's operations.
    """
    threads = min(workers(), len(items))
    if threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(function, items))


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items, while a thread gets the next one."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, iterator, end)
        while (item := following.result()) is not end:
            following = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]


def keep_freed_memory() -> None:
    """Let the process keep the memory that it frees, where it runs on glibc: a batch needs as much as the one before.

    Otherwise large tensors are mapped and unmapped for every operation, and the kernel clears each page anew: a tenth
    of a step's time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in _MALLOPT:
            mallopt(option, value)
