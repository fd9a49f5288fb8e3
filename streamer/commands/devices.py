"""`streamer devices`: list the microphones, by the names that config.toml keeps."""


def devices() -> None:
    """List the audio input devices.

    \b
    Example:
      streamer devices
    """
    from rich.table import Table

    from streamer.commands.screen import Screen
    from streamer.sources.devices import list_devices

    found = list_devices()
    console = Screen()
    if not found:
        console.print(
            "No input device found. Plug in a microphone, or check that the sound server runs; "
            "`streamer doctor` shows more.",
            soft_wrap=True,
        )
        return
    table = Table(
        title="Input devices", caption="Use one with: streamer run mic:NAME-OR-INDEX  (* is what `mic` means)"
    )
    table.add_column("")
    table.add_column("index", justify="right")
    table.add_column("name")
    table.add_column("host")
    table.add_column("channels", justify="right")
    table.add_column("native rate", justify="right")
    for device in found:
        mark = "*" if device.is_default else ""
        rate = f"{device.rate_hz:,.0f} Hz"
        table.add_row(mark, str(device.index), device.title, device.hostapi, str(device.channels), rate)
    console.print(table)
