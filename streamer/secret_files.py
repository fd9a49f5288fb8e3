"""Files that hold a password, readable by their owner alone."""

import os
import stat
from pathlib import Path

from streamer.errors import UsageError

_MAX_BYTES = 4_096


def read_password(file: str | Path, key: str) -> str:
    """Return the first line of `file`, which the setting or option `key` named.

    Raises:
        UsageError: it cannot be read, or holds nothing there.
    """
    path = Path(file).expanduser()
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a named pipe would wait for ever
            raise UsageError(f"{key}: {str(path)!r} is no file; name a text file with the password on its first line.")
        with path.open("rb") as opened:
            lines = opened.read(_MAX_BYTES).decode().splitlines()
    except (OSError, ValueError) as error:  # a path with a NUL, or bytes that are no text, are ValueErrors
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"{key}: {str(path)!r} cannot be read: {reason}.") from None
    if not lines or not lines[0]:
        raise UsageError(f"{key}: {str(path)!r} holds no password on its first line.")
    return lines[0]


def write_password(path: Path, password: str) -> None:
    """Write `password` to `path`, a new file that its owner alone can read. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(password + "\n")
