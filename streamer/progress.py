"""Types of the callables through which long work reports: a line of text, and a progress bar."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
Progress = Callable[[Sequence[T], str], Iterable[T]]  # iterates over a sequence and shows how far it is
Log = Callable[[str], None]  # takes one line at a time


@dataclass(frozen=True)
class Reporter:
    """Where a long job reports to."""

    log: Log
    progress: Progress[Any]
