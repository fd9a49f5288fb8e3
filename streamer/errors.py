"""Errors that users see: one sentence that says what is wrong and what cures it.

Whatever a command raises from this family is printed without a traceback; the class decides the exit code.
"""

import errno
from typing import ClassVar

_CURES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room within the quota",
    errno.EFBIG: "raise the limit on the size of files",
    errno.EACCES: "change its permissions",
    errno.EPERM: "change its permissions",
    errno.EROFS: "name a place that can be written",
    errno.EBADF: "redirect it to a file, or to /dev/null",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOENT: "check the path",
    errno.ELOOP: "check the links on the path",
    errno.ENAMETOOLONG: "choose a shorter name",
}


class StreamerError(Exception):
    """Something failed at run time; the message is one sentence with the cure."""

    exit_code: ClassVar[int] = 1


class UsageError(StreamerError):
    """A flag, a key of config.toml or an argument is wrong."""

    exit_code: ClassVar[int] = 2


def of_system(error: Exception) -> str:
    """Return one sentence for an error of the operating system, with the cure where one is known."""
    what = getattr(error, "strerror", None) or str(error) or type(error).__name__
    where = getattr(error, "filename", None)
    cure = _CURES.get(getattr(error, "errno", None) or 0, "check the disk and the path")
    return f"{f'{where}: ' if where else ''}{what}; {cure}, and run it again."
