"""`streamer cache`: what this program keeps on this machine, and the part of it that can be fetched again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from streamer.commands.options import Json
from streamer.commands.stderr import notice
from streamer.errors import StreamerError


@dataclass(frozen=True, slots=True)
class Kept:
    """One file or folder that this program wrote."""

    path: Path
    size: int  # bytes, of all files in it
    what: str
    clearable: bool  # it can be fetched or made again


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove what can be fetched again.")] = False,
    as_json: Json = False,
) -> None:
    """List what is kept on this machine; clear downloads.

    Voice profiles and logs are listed, and never cleared: `streamer calibrate --forget` removes a profile. The cache of
    `streamer embed` lies beside what it writes, in `.cache`.

    \b
    Examples:
      streamer cache
      streamer cache --clear
    """
    import json

    kept = everything_kept()
    if clear:
        notice(clear_cache(kept))
        return
    if as_json:
        print(json.dumps([{"path": str(one.path), "bytes": one.size, "what": one.what} for one in kept], indent=2))
        return
    _print(kept)


def everything_kept() -> list[Kept]:
    """Return all that is in the cache, data and log folders, in this order; folders that are missing are left out."""
    import platformdirs

    cached = platformdirs.user_cache_path("streamer")
    found = [
        Kept(path, _size(path), *_meaning(path)) for path in sorted(cached.glob("*")) if not path.name.endswith(".lock")
    ]
    profiles, logs = platformdirs.user_data_path("streamer") / "voices", platformdirs.user_log_path("streamer")
    found += [Kept(path, _size(path), "voice profile", False) for path in sorted(profiles.glob("*.json"))]
    found += [Kept(path, _size(path), "log", False) for path in sorted(logs.glob("*"))]
    return found


def clear_cache(kept: list[Kept]) -> str:
    """Remove what can be fetched again; return a sentence that says how much that was.

    Raises:
        StreamerError: something cannot be removed.
    """
    import shutil

    cleared = [one for one in kept if one.clearable]
    for one in cleared:
        try:
            if one.path.is_dir():
                shutil.rmtree(one.path)
            else:
                one.path.unlink(missing_ok=True)
        except OSError as error:
            raise StreamerError(f"{one.path} cannot be removed ({error.strerror}); change its permissions.") from error
    if not cleared:
        return "There was nothing to clear; voice profiles and logs stay."
    return f"{_megabytes(sum(one.size for one in cleared))} cleared: {', '.join(one.path.name for one in cleared)}."


def _meaning(path: Path) -> tuple[str, bool]:
    """Return what a file of the cache folder is, and whether it can be fetched again."""
    if path.name == "brokers":
        return "addresses of embedded brokers that run", False
    return "download, fetched again when it is needed", True


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _print(kept: list[Kept]) -> None:
    from rich.table import Table

    from streamer.commands.screen import Screen

    if not kept:
        Screen().print("Nothing is kept on this machine.")
        return
    table = Table(title="Kept on this machine", title_justify="left")
    table.add_column("what")
    table.add_column("size", justify="right")
    table.add_column("path", overflow="fold")
    for one in kept:
        table.add_row(one.what, _megabytes(one.size), str(one.path))
    Screen().print(table)
