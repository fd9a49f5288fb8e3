"""`streamer devices`: the microphones there are, by the names that config.toml keeps."""

from rich.console import Console
from rich.table import Table

from streamer.audio.devices import list_devices


def print_devices() -> None:
    """Print one line an input device; say what to do where there is none."""
    devices = list_devices()
    console = Console()
    if not devices:
        console.print(
            "No input device. Plug a microphone in, or check that the sound server runs (`streamer doctor` looks closer)."
        )
        return
    table = Table(
        title="Input devices", caption="Use one with: streamer run mic:NAME-OR-INDEX  (* is what `mic` takes)"
    )
    for heading, justify in (
        ("", "left"),
        ("index", "right"),
        ("name", "left"),
        ("host", "left"),
        ("channels", "right"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    table.add_column("own rate", justify="right")
    for device in devices:
        mark = "*" if device.is_default else ""
        rate = f"{device.rate_hz:,.0f} Hz"
        table.add_row(mark, str(device.index), device.name, device.hostapi, str(device.channels), rate)
    console.print(table)
