"""`streamer doctor`: look at everything the monitor needs, and say for each what cures it."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape

from streamer import __version__
from streamer.config import Settings, StreamConfig, file_in_force, load, usual_places
from streamer.errors import StreamerError

Verdict = Literal["ok", "note", "bad"]
_SIGNS: dict[Verdict, str] = {"ok": "[green]✓[/]", "note": "[yellow]•[/]", "bad": "[red]✗[/]"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and the cure where it is not well."""

    what: str
    verdict: Verdict
    text: str


def run_doctor(config: Path | None) -> int:
    """Print one line a finding; 0 where all is well enough to hear a microphone, else 1.

    Raises:
        UsageError: the settings are wrong; nothing else can be looked at then.
    """
    console = Console(highlight=False)
    console.print(f"streamer {__version__} on Python {platform.python_version()}, {platform.platform()}")
    bad = 0
    for finding in examine(load(config), file_in_force(config)):
        console.print(f" {_SIGNS[finding.verdict]} [bold]{finding.what}[/]: {escape(finding.text)}", soft_wrap=True)
        bad += finding.verdict == "bad"
    if bad:
        console.print(
            f"{bad} of these {'wants' if bad == 1 else 'want'} curing; `streamer run demo` works all the same."
        )
    else:
        console.print("All is well.")
    return min(bad, 1)


def examine(settings: Settings, file: Path | None) -> Iterator[Finding]:
    """Every finding, as soon as it is known."""
    where = str(file) if file else f"built-in defaults; a file may stand at {' or '.join(map(str, usual_places()))}"
    yield Finding("settings", "ok", where)
    yield from _network_sources(settings)
    checks = {"microphone": _microphone, "model": _model, "compute": _compute, "broker": _broker}
    for what, check in checks.items():
        try:
            yield check(settings)
        except StreamerError as error:
            yield Finding(what, "bad", str(error))


def _microphone(settings: Settings) -> Finding:
    from streamer.audio.devices import find_device, list_devices

    devices = list_devices()
    default = find_device(None, devices)
    return Finding("microphone", "ok", f"{default.name} at {default.rate_hz:,.0f} Hz (input devices: {len(devices)})")


def _network_sources(settings: Settings) -> Iterator[Finding]:
    """Open every URL among the sources once; a wrong source is a finding of its own."""
    from streamer.audio.open import open_once, parse_source

    for table in settings.stream or (settings.audio,):
        what = f"source {table.name}" if isinstance(table, StreamConfig) else "source"
        try:
            address = parse_source(table.source).address
            if address is not None:
                open_once(address, table.source_password_file)
                yield Finding(what, "ok", f"{address.label} can be opened")
        except StreamerError as error:
            yield Finding(what, "bad", str(error))


def _model(settings: Settings) -> Finding:
    from streamer.emotion.checkpoint import load_checkpoint

    card = load_checkpoint(settings.model.checkpoint).card
    return Finding("model", "ok", f"{card.name}: {', '.join(card.labels)}")


def _compute(settings: Settings) -> Finding:
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
        return Finding("broker", "note", "MQTT is off (mqtt.url); events reach the dashboard only.")
    if url == "embedded":
        running = find_broker()
        return Finding(
            "broker", "ok", f"embedded; {f'one runs at {running}' if running else 'it starts with the monitor'}"
        )
    wanted = mqtt_settings(settings.mqtt, url)
    check_connection(wanted)
    return Finding("broker", "ok", f"{wanted.broker} lets us in")
