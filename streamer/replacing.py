"""Write a file as a whole or not at all."""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_STALE_S = 3_600.0  # where it cannot be seen whether its writer lives


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a file to be written, which takes the place of `path` at the end; never half of it.

    Every writer has a name of its own, so that two of them do not write over each other: the last one stays. What a
    writer that was killed has left is removed by the next.
    """
    _remove_left_overs(path)
    part = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(3)}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _remove_left_overs(path: Path) -> None:
    with suppress(OSError):
        for name in os.listdir(path.parent):
            if name.startswith(f".{path.stem}.") and name.endswith(f".part{path.suffix}"):
                left = path.with_name(name)
                writer = name.removeprefix(f".{path.stem}.").partition("-")[0]
                with suppress(OSError):
                    if not _may_still_write(left, writer):
                        left.unlink()


def _may_still_write(left: Path, writer: str) -> bool:
    if writer.isdecimal() and os.name == "posix":
        try:
            os.kill(int(writer), 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass
    return time.time() - left.stat().st_mtime < _STALE_S
