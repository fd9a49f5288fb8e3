"""A known file from the net: fetched once, checked, kept in the user's cache."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from filelock import FileLock
from platformdirs import user_cache_path

from streamer.errors import StreamerError

BLOCK_BYTES = 2**18  # 256 KiB between two reports of progress
TIMEOUT_S = 30.0  # without a single byte

OnProgress = Callable[[int], None]  # bytes that are here so far


class DownloadError(StreamerError):
    """The file could not be fetched, or what came is not it."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file whose every byte is known beforehand."""

    url: str
    size: int  # bytes
    sha256: str  # hexadecimal

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rsplit("/", 1)[-1]


def cache_folder() -> Path:
    """Where fetched files are kept, as the platform has it (`~/.cache/streamer` on Linux)."""
    return user_cache_path("streamer")


def fetch(file: RemoteFile, folder: Path | None = None, on_progress: OnProgress | None = None) -> Path:
    """The path of `file` on this machine, complete and checked; downloads it if it is not in `folder` yet.

    A download that was broken off is taken up where it ended. Several processes may ask at once: one downloads.

    Args:
        file: what to fetch.
        folder: where it is kept; `cache_folder()` if None.
        on_progress: told how many bytes are here, at the start and after every block.

    Raises:
        DownloadError: the file cannot be fetched or written, or is not what it should be.
    """
    folder = folder or cache_folder()
    target, part = folder / file.name, folder / f"{file.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{file.name}.lock"):
            if target.exists():
                _check(file, target)
            else:
                _download(file, part, target, on_progress or (lambda _: None))
                _check(file, part)
                part.replace(target)
    except OSError as error:
        raise DownloadError(f"{target} cannot be written or read ({error}); make room or mend its rights.") from error
    return target


def _download(file: RemoteFile, part: Path, target: Path, on_progress: OnProgress) -> None:
    """Completes `part`, which may hold a beginning of the file already."""
    present = part.stat().st_size if part.exists() else 0
    if present >= file.size:  # complete (or too long); the check will tell
        return
    try:
        with urlopen(_request(file, present), timeout=TIMEOUT_S) as response:
            goes_on = response.status == 206 and response.headers["Content-Range"].startswith(f"bytes {present}-")
            with part.open("ab" if goes_on else "wb") as out:
                _copy(response, out, file.size, on_progress)
    except HTTPError as error:
        error.close()  # it holds the connection
        raise _unreachable(file, target, f"the server says {error.code} {error.reason}") from error
    except (URLError, ConnectionError, TimeoutError, SSLError, HTTPException) as error:
        raise _unreachable(file, target, str(getattr(error, "reason", error))) from error
    have = part.stat().st_size
    if have < file.size:
        raise DownloadError(
            f"The download of {file.url} ended after {have:,} of {file.size:,} bytes; run the command again to go on."
        )


def _request(file: RemoteFile, present: int) -> Request:
    return Request(file.url, headers={"Range": f"bytes={present}-"} if present else {})


def _copy(source: BinaryIO, out: BinaryIO, size: int, on_progress: OnProgress) -> None:
    """Appends to `out`, by at most one byte more than `size` in all: enough to see that the file is too long."""
    on_progress(out.tell())
    while block := source.read(min(BLOCK_BYTES, size + 1 - out.tell())):
        out.write(block)
        on_progress(out.tell())


def _unreachable(file: RemoteFile, target: Path, reason: str) -> DownloadError:
    return DownloadError(
        f"{file.url} cannot be fetched ({reason}); fetch it on a machine that can and put it at {target}."
    )


def _check(file: RemoteFile, path: Path) -> None:
    """Sets `path` aside and raises if it is not `file`."""
    size = path.stat().st_size
    if size == file.size:
        with path.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() == file.sha256:
                return
        wrong = "its SHA-256 is another"
    else:
        wrong = f"it has {size:,} bytes instead of {file.size:,}"
    aside = path.with_name(f"{file.name}.damaged")
    path.replace(aside)
    raise DownloadError(
        f"{path} is damaged or another file ({wrong}) and was renamed to {aside.name}; "
        "run the command again to fetch it anew."
    )


@contextmanager
def progress_bar(file: RemoteFile) -> Iterator[OnProgress]:
    """A bar on standard error, for `fetch`'s `on_progress`."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(file.name, total=file.size)
        yield lambda present: progress.update(task, completed=present)
