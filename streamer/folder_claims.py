"""Claim a folder: one program at a time writes there."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from streamer.errors import UsageError

_WORK_LOCK = ".streamer-work.lock"


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
    except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{folder} cannot be written ({reason}); {cure}.") from error
    return lock


def claimed_work(folder: Path) -> AbstractContextManager[None]:
    """Hold the work folder of a training or an evaluation: two that fill its stores at once would mix them up.

    Raises:
        UsageError: as `claim`.
    """
    return _held(folder, f"Another training or evaluation works in {folder}", "give --work a place of your own")


def claimed_cache(folder: Path) -> AbstractContextManager[None]:
    """Hold the cache `folder` of a set of embeddings.

    Raises:
        UsageError: as `claim`.
    """
    return _held(folder, f"Another `streamer embed` works in {folder.parent}", "give --out a place of your own")


@contextmanager
def _held(folder: Path, busy: str, cure: str) -> Iterator[None]:
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    lock = claim(folder, _WORK_LOCK, busy=f"{busy}; wait for its end, or {cure}.", cure=cure)
    try:
        yield
    finally:
        with suppress(OSError):
            if made and os.listdir(folder) == [_WORK_LOCK]:  # nothing came of it: as if it had not begun
                (folder / _WORK_LOCK).unlink()
                for one in made:
                    one.rmdir()
        lock.release()
