"""What a monitor with certain settings needs of the machine: devices, network, files."""

from __future__ import annotations

import getpass
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import streamer
from streamer.errors import UsageError
from streamer.settings import Settings

HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
TEMPORARY = (Path("/tmp"), Path("/var/tmp"))


@dataclass(frozen=True, slots=True)
class Needs:
    """Of one monitor as a service."""

    program: Path  # the command `streamer`
    config: Path | None  # absolute; None: the built-in defaults
    source: str | None  # named on the command line
    folder: Path | None  # in which relative paths of the settings begin; None: there are none
    microphone: bool
    gpu: bool
    network: bool  # beyond this machine
    embedded_broker: bool
    metrics: bool
    actions: bool
    installed: tuple[Path, ...]  # the program's own files
    reads: tuple[Path, ...]  # all files, these among them
    writes: tuple[Path, ...]
    user: str  # whose files they are, if others cannot read or write them all; else empty

    @property
    def in_home(self) -> bool:
        """Whether something lies in a home folder."""
        return any(_within(path, HOMES) for path in (*self.reads, *self.writes))

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of `streamer`, as the service runs it."""
        config = () if self.config is None else ("--config", str(self.config))
        return ("run", *(() if self.source is None else (self.source,)), "--headless", *config)


def needs_of(settings: Settings, config: Path | None, source: str | None) -> Needs:
    """Return what a service with these settings needs.

    Args:
        settings: with `source` as their source.
        config: the file that they come from; None: there is none.
        source: named on the command line, in place of the [[stream]] tables; None: they hold.

    Raises:
        UsageError: a source cannot be that of a service, or something lies where a service does not see it.
    """
    from streamer.sources.open import parse_source

    tables = (settings.audio,) if source is not None or not settings.stream else settings.stream
    specs = [parse_source(table.source) for table in tables]
    if any(spec.kind == "pipe" for spec in specs):
        raise UsageError("A service has nothing on its standard input, so `-` cannot be its source; name another.")
    files = [spec.target for spec in specs if spec.kind == "recording"]
    files += [spec.address.url for spec in specs if spec.address is not None and spec.address.scheme == "sdp"]
    files += [table.source_password_file for table in tables]
    files += [settings.mqtt.password_file, settings.mqtt.ca_file, settings.mqtt.client_cert, settings.mqtt.client_key]
    files += [settings.model.checkpoint] if settings.model.checkpoint not in ("bundled", "measured") else []
    files = [file for file in files if file]
    program = _program()
    settings_file = [config] if config else []
    installed = [program, Path(sys.prefix), Path(sys.base_prefix), Path(streamer.__file__).parent]
    reads = tuple(dict.fromkeys([*installed, *_absolute(files), *_absolute(settings_file)]))
    writes = tuple(_absolute([settings.record.folder] if settings.record.folder else []))
    hidden = [path for path in (*reads, *writes) if _within(path, TEMPORARY)]
    if hidden:
        raise UsageError(f"A service has a folder /tmp of its own and does not see {hidden[0]}; put it elsewhere.")
    private = bool(writes) or not all(map(_readable_by_all, reads))
    named = (*files, settings.record.folder) if settings.record.folder else files
    relative = any(not Path(file).expanduser().is_absolute() for file in named)
    return Needs(
        program=program,
        config=next(_absolute(settings_file), None),
        source=source,
        folder=Path.cwd() if relative else None,
        microphone=any(spec.kind in ("mic", "auto") for spec in specs),
        gpu=settings.model.device.startswith("cuda")
        or (settings.model.device == "auto" and Path("/dev/nvidiactl").exists()),
        network=_network(settings, [spec.address.host for spec in specs if spec.address is not None]),
        embedded_broker=settings.mqtt.url == "embedded",
        metrics=settings.metrics.listen != "off",
        actions=bool(settings.action),
        reads=reads,
        writes=writes,
        installed=tuple(installed),
        user=os.environ.get("SUDO_USER") or getpass.getuser() if private else "",
    )


def _program() -> Path:
    """Return the command `streamer` of the environment that runs."""
    return Path(sys.executable).with_name("streamer")


def _network(settings: Settings, hosts: Iterable[str]) -> bool:
    """Return whether the monitor talks to other machines, or they to it."""
    from streamer.publish.listen import Listen
    from streamer.publish.mqtt_settings import BrokerUrl
    from streamer.publish.open import is_loopback

    url, listen = settings.mqtt.url, settings.metrics.listen
    broker = [] if url in ("embedded", "off") else [BrokerUrl.parse(url).host]
    metrics = listen != "off" and not Listen.parse(listen, "metrics.listen").is_loopback
    return metrics or not all(map(is_loopback, (*hosts, *broker)))


def _absolute(files: Iterable[str | Path]) -> Iterator[Path]:
    return (Path.cwd() / Path(file).expanduser() for file in files)


def _within(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _readable_by_all(path: Path) -> bool:
    """Return whether another user can read `path`; what is not there yet is judged by its folder."""
    try:
        folders = all(os.stat(folder).st_mode & stat.S_IXOTH for folder in path.parents if folder.exists())
        return folders and (not path.exists() or bool(os.stat(path).st_mode & stat.S_IROTH))
    except OSError:
        return False
