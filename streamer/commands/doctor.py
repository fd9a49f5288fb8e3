"""`streamer doctor`: check what the monitor needs, and say how to fix what does not work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import typer

from streamer.commands.options import ConfigFile
from streamer.errors import StreamerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streamer.config import Settings

Verdict = Literal["ok", "note", "bad"]
_SIGNS: dict[Verdict, str] = {"ok": "[green]✓[/]", "note": "[yellow]•[/]", "bad": "[red]✗[/]"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check, with the cure where it did not pass."""

    check: str
    verdict: Verdict
    text: str


def doctor(config: ConfigFile = None) -> None:
    """Check microphone, model, GPU and broker; say how to fix each.

    \b
    Example:
      streamer doctor --config my.toml
    """
    raise typer.Exit(run_doctor(config))


def run_doctor(config: Path | None) -> int:
    """Print one line per check; return exit code 0 if all passed, else 1.

    Raises:
        UsageError: the settings are wrong, so that nothing else can be checked.
    """
    import platform

    from rich.console import Console
    from rich.markup import escape

    from streamer import __version__
    from streamer.config import file_in_force, load

    console = Console(highlight=False)
    console.print(f"streamer {__version__} on Python {platform.python_version()}, {platform.platform()}")
    failed = 0
    for finding in examine(load(config), file_in_force(config)):
        console.print(f" {_SIGNS[finding.verdict]} [bold]{finding.check}[/]: {escape(finding.text)}", soft_wrap=True)
        failed += finding.verdict == "bad"
    if failed:
        checks = "1 check" if failed == 1 else f"{failed} checks"
        console.print(f"{checks} failed; `streamer run demo` works without a microphone.")
    else:
        console.print("All checks passed.")
    return min(failed, 1)


def examine(settings: Settings, file: Path | None) -> Iterator[Finding]:
    """Yield every finding as soon as it is known."""
    from streamer.config import usual_places

    where = (
        str(file)
        if file
        else f"built-in defaults; a settings file can be placed at {' or '.join(map(str, usual_places()))}"
    )
    yield Finding("settings", "ok", where)
    yield from _network_sources(settings)
    checks = {"microphone": _microphone, "model": _model, "compute": _compute, "broker": _broker}
    for name, check in checks.items():
        try:
            yield check(settings)
        except StreamerError as error:
            yield Finding(name, "bad", str(error))


def _network_sources(settings: Settings) -> Iterator[Finding]:
    """Open every URL among the sources once; a wrong source is a finding of its own."""
    from streamer.config import StreamConfig
    from streamer.sources.open import open_once, parse_source

    for table in settings.stream or (settings.audio,):
        what = f"source {table.name}" if isinstance(table, StreamConfig) else "source"
        try:
            address = parse_source(table.source).address
            if address is not None:
                open_once(address, table.source_password_file)
                yield Finding(what, "ok", f"{address.label} can be opened")
        except StreamerError as error:
            yield Finding(what, "bad", str(error))


def _microphone(settings: Settings) -> Finding:
    from streamer.sources.devices import find_device, list_devices

    devices = list_devices()
    default = find_device(None, devices)
    return Finding("microphone", "ok", f"{default.name} at {default.rate_hz:,.0f} Hz (input devices: {len(devices)})")


def _model(settings: Settings) -> Finding:
    from streamer.emotion.checkpoint import load_checkpoint

    card = load_checkpoint(settings.model.checkpoint).card
    return Finding("model", "ok", f"{card.name}: {', '.join(card.labels)}")


def _compute(settings: Settings) -> Finding:
    import platform

    import torch

    from streamer.codec.device import choose_device

    device = choose_device(settings.model.device)
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
    return Finding("compute", "ok", f"torch {torch.__version__} on {device} ({name})")


def _broker(settings: Settings) -> Finding:
    from streamer.publish.broker_files import find_broker
    from streamer.publish.check import check_connection
    from streamer.publish.open import mqtt_settings

    url = settings.mqtt.url
    if url == "off":
        return Finding("broker", "note", "MQTT is off (mqtt.url); events go to the dashboard only.")
    if url == "embedded":
        running = find_broker()
        return Finding(
            "broker", "ok", f"embedded; {f'one runs at {running}' if running else 'it starts with the monitor'}"
        )
    wanted = mqtt_settings(settings.mqtt, url)
    check_connection(wanted)
    return Finding("broker", "ok", f"{wanted.broker} accepts the connection")
