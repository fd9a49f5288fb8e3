"""Use the processor's cores in training: work side by side, the next batch ahead of time, and memory that is kept."""

import ctypes
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

# glibc's options of mallopt: no allocation has a mapping of its own, the heap never shrinks, and all threads share it.
_MALLOPT = ((-4, 0), (-1, 2**31 - 1), (-8, 1))


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Map items by as many threads as torch computes with, each item by one of them.

    Every thread computes by itself: there is nothing to wait for until all are done, unlike within torch's operations.
    """
    threads = min(torch.get_num_threads(), len(items))
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
