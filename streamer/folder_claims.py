"""Claim a folder: one program at a time writes there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from streamer.errors import UsageError


def claim(folder: Path, lock_name: str, *, busy: str, cure: str) -> FileLock:
    """Return the lock of `folder`, held; a process that dies lets go of it. The folder is made if it is missing.

    Args:
        folder: to be written.
        lock_name: of the lock's file in it.
        busy: what to say when another program holds it.
        cure: what to do where it cannot be written.

    Raises:
        UsageError: another program holds it, or it cannot be written.
    """
    lock = FileLock(folder / lock_name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, os.strerror(13))
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(busy) from None
    except OSError as error:
        raise UsageError(f"{folder} cannot be written ({error.strerror or error}); {cure}.") from error
    return lock


@contextmanager
def claimed_work(folder: Path) -> Iterator[None]:
    """Hold the work folder of a training or an evaluation: two that fill its stores at once would mix them up.

    Raises:
        UsageError: as `claim`.
    """
    with _held(
        folder,
        busy=f"Another training or evaluation works in {folder}; wait for its end, or give this one a --work folder of "
        "its own.",
        cure="give --work a place of your own",
    ):
        yield


@contextmanager
def claimed_output(folder: Path, out: Path) -> Iterator[None]:
    """Hold the cache `folder` of a set of embeddings that is written to `out`.

    Raises:
        UsageError: as `claim`.
    """
    with _held(
        folder,
        busy=f"Another `streamer embed` writes to {out}; wait for its end, or give this one an --out of its own.",
        cure="give --out a place of your own",
    ):
        yield


@contextmanager
def _held(folder: Path, *, busy: str, cure: str) -> Iterator[None]:
    lock = claim(folder, ".streamer-work.lock", busy=busy, cure=cure)
    try:
        yield
    finally:
        lock.release()
