"""Download a file of known size and SHA-256 once, verify it, and keep it in the user's cache."""

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

BLOCK_BYTES = 2**18  # 256 KiB between two progress reports
TIMEOUT_S = 30.0  # without receiving a byte

OnProgress = Callable[[int], None]  # takes the number of bytes present so far


class DownloadError(StreamerError):
    """The file could not be downloaded or written, or its contents are not the expected ones."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """Address, size and digest of a file."""

    url: str
    size: int  # bytes
    sha256: str  # hexadecimal

    @property
    def name(self) -> str:
        """Last part of the URL, the file's name on disk."""
        return self.url.rsplit("/", 1)[-1]


def cache_folder() -> Path:
    """Return the platform's folder for downloaded files (`~/.cache/streamer` on Linux)."""
    return user_cache_path("streamer")


def fetch(file: RemoteFile, folder: Path | None = None, on_progress: OnProgress | None = None) -> Path:
    """Return the local path of `file`, complete and verified; download it if it is not in `folder`.

    An interrupted download resumes where it stopped. Of several processes that call this at once, one downloads.

    Args:
        file: what to fetch.
        folder: where it is kept; `cache_folder()` if None.
        on_progress: called with the number of bytes present, at the start and after every block.

    Raises:
        DownloadError: the file cannot be downloaded or written, or has the wrong size or digest.
    """
    folder = folder or cache_folder()
    target, part = folder / file.name, folder / f"{file.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{file.name}.lock"):
            if target.exists():
                _verify(file, target)
            else:
                _download(file, part, target, on_progress or (lambda _: None))
                _verify(file, part)
                part.replace(target)
    except OSError as error:
        raise DownloadError(
            f"{target} cannot be written or read ({error}); free disk space or correct its permissions."
        ) from error
    return target


def _download(file: RemoteFile, part: Path, target: Path, on_progress: OnProgress) -> None:
    """Complete `part`, which may hold the beginning of the file already."""
    present = part.stat().st_size if part.exists() else 0
    if present >= file.size:  # complete or too long, which `_verify` finds out
        return
    try:
        with urlopen(_request(file, present), timeout=TIMEOUT_S) as response:
            begins = response.headers.get("Content-Range", "")  # which some servers leave out, or send as they like
            resumes = response.status == 206 and begins.startswith(f"bytes {present}-")
            if response.status == 206 and not resumes:
                raise _unreachable(file, target, "the server sent another part of it than was asked for")
            with part.open("ab" if resumes else "wb") as out:
                _copy(response, out, file.size, on_progress)
    except HTTPError as error:
        error.close()  # it holds the connection
        raise _unreachable(file, target, f"the server answered {error.code} {error.reason}") from error
    except (URLError, ConnectionError, TimeoutError, SSLError, HTTPException) as error:
        raise _unreachable(file, target, str(getattr(error, "reason", error))) from error
    have = part.stat().st_size
    if have < file.size:
        raise DownloadError(
            f"The download of {file.url} ended after {have:,} of {file.size:,} bytes; run the command again to resume."
        )


def _request(file: RemoteFile, present: int) -> Request:
    return Request(file.url, headers={"Range": f"bytes={present}-"} if present else {})


def _copy(source: BinaryIO, out: BinaryIO, size: int, on_progress: OnProgress) -> None:
    """Append to `out` up to `size` + 1 bytes in all: the extra byte shows that the file is too long."""
    on_progress(out.tell())
    while block := source.read(min(BLOCK_BYTES, size + 1 - out.tell())):
        out.write(block)
        on_progress(out.tell())


def _unreachable(file: RemoteFile, target: Path, reason: str) -> DownloadError:
    return DownloadError(
        f"{file.url} cannot be downloaded ({reason}); download it on another machine and copy it to {target}."
    )


def _verify(file: RemoteFile, path: Path) -> None:
    """Rename `path` and raise DownloadError if its size or digest is not that of `file`."""
    size = path.stat().st_size
    if size == file.size:
        with path.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() == file.sha256:
                return
        wrong = "its SHA-256 differs"
    else:
        wrong = f"it has {size:,} bytes instead of {file.size:,}"
    aside = path.with_name(f"{file.name}.damaged")
    path.replace(aside)
    raise DownloadError(
        f"{path} is damaged or another file ({wrong}) and was renamed to {aside.name}; "
        "run the command again to download it anew."
    )


@contextmanager
def progress_bar(file: RemoteFile) -> Iterator[OnProgress]:
    """Show a progress bar on standard error; yields a callable for `fetch`'s `on_progress`."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(file.name, total=file.size)
        yield lambda present: progress.update(task, completed=present)
