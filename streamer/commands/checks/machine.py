"""Look at what lies around the program: folders, disk, terminal, optional parts."""

import os
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import platformdirs
import psutil

from streamer.commands.checks.finding import Finding
from streamer.commands.settings_check import named_sources
from streamer.commands.terminal_session import can_draw
from streamer.errors import StreamerError
from streamer.extras import install_command
from streamer.settings import Settings
from streamer.sources.portaudio import shared

FREE_MB = 500  # for logs, voice profiles and Meta's weights (some 90 MB)
EXTRAS = {  # extra: the commands that need it, and one module of each of its distributions
    "train": ("train, evaluate", ("huggingface_hub", "sklearn", "opensmile", "matplotlib")),
    "analysis": ("analyze", ("sklearn", "matplotlib")),
    "bench": ("bench steps", ("onnx", "onnxruntime")),
    "web": ("serve, run --serve", ("aiohttp",)),
    "metrics": ("run --metrics", ("prometheus_client",)),
    "sessions": ("export, label", ("pyarrow", "praatio", "pympi")),
}


def check_portaudio(settings: Settings) -> Iterator[Finding]:
    """Yield PortAudio's version; where it is missing, only if no source needs it: else the sources say so."""
    try:
        yield Finding("portaudio", "ok", shared().version())
    except StreamerError as error:
        if not any(table.source.partition(":")[0].strip() in ("auto", "mic") for table in named_sources(settings)):
            yield Finding("portaudio", "note", f"{error} The sources of these settings need none.")


def check_folders(settings: Settings) -> Iterator[Finding]:
    """Yield a finding for each folder that is written to, and for the disk it is on."""
    folders = {
        "log": platformdirs.user_log_path("streamer"),
        "voice profiles": platformdirs.user_data_path("streamer"),
        "mutes": platformdirs.user_state_path("streamer"),
        "caches": platformdirs.user_cache_path("streamer"),
    }
    if settings.record.folder:
        folders["recorded events"] = Path(settings.record.folder).expanduser()
    wrong = [(what, folder, why) for what, folder in folders.items() if (why := _unwritable(folder))]
    for what, folder, why in wrong:
        yield Finding("folders", "bad", f"{folder} ({what}) cannot be written: {why}; change its owner or free space.")
    if not wrong:
        yield Finding("folders", "ok", ", ".join(f"{what} in {folder}" for what, folder in folders.items()))
    free_mb = psutil.disk_usage(str(_nearest(folders["caches"]))).free / 1e6
    if free_mb < FREE_MB:
        yield Finding("disk", "bad", f"{free_mb:,.0f} MB are free, and {FREE_MB} are wanted; free some space.")
    else:
        yield Finding("disk", "ok", f"{free_mb / 1000:,.1f} GB free")


def _nearest(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _unwritable(folder: Path) -> str:
    """Return why nothing can be written into `folder`; empty where something can. Leaves nothing behind."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    finally:
        for path in missing:
            if path.is_dir():
                path.rmdir()
    return ""


def check_terminal(settings: Settings) -> Iterator[Finding]:
    """Yield whether the dashboard can be drawn as it is meant."""
    from textual.theme import BUILTIN_THEMES

    from streamer.dashboard.themes import DARK, LIGHT

    themes = ("auto", DARK.name, LIGHT.name, *BUILTIN_THEMES)
    if settings.dashboard.theme not in themes:
        wrong = settings.dashboard.theme
        yield Finding("theme", "bad", f"dashboard.theme = {wrong!r}: no such theme; there are {', '.join(themes)}.")
    if not sys.stdout.isatty():
        return
    encoding, term = sys.stdout.encoding or "", os.environ.get("TERM", "")
    if encoding.lower().replace("-", "") != "utf8":
        cure = "set a UTF-8 locale, such as LC_ALL=C.UTF-8"
        yield Finding("terminal", "bad", f"its encoding is {encoding}, in which bars cannot be drawn; {cure}.")
    elif not can_draw():
        cure = "set TERM, as to xterm-256color, or use `streamer run --plain`"
        yield Finding("terminal", "bad", f"TERM is {term or 'not set'}, so that nothing can be drawn; {cure}.")
    else:
        yield Finding("terminal", "ok", f"{term}, {encoding}")


def check_extras() -> Iterator[Finding]:
    """Yield which commands lack something optional; none is needed to run the monitor."""
    for extra, (commands, modules) in EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        if missing:
            text = f"`streamer {commands}` lack {', '.join(missing)}; where they are wanted: {install_command(extra)}."
            yield Finding("extras", "note", text)
