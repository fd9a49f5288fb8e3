"""List the input devices, and find one by index or name."""

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from streamer.sources import pulse
from streamer.sources.portaudio import DeviceError, PortAudio, shared


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """One input device."""

    index: int  # PortAudio's; changes when devices are plugged in or out. PulseAudio's sources share that of `pulse`
    name: str
    hostapi: str  # "ALSA", "Core Audio", "Windows WASAPI" …; "PulseAudio" for its sources
    channels: int
    rate_hz: float  # the rate the device has by itself
    is_default: bool
    source: str = ""  # PulseAudio's own name for it
    number: int = 1  # among the devices of the same name and host API, in the order of their indices

    @property
    def title(self) -> str:
        """The name by which it is listed and found: that of a second device with one name ends in `#2`."""
        return self.name if self.number == 1 else f"{self.name} #{self.number}"

    @property
    def label(self) -> str:
        """Title and host API, such as `Yeti, Core Audio`."""
        return f"{self.title}, {self.hostapi}"


def list_devices(portaudio: PortAudio | None = None) -> tuple[DeviceInfo, ...]:
    """Return the input devices, PulseAudio's sources last; empty where there are none.

    Raises:
        PortAudioMissingError: the library is not installed.
        DeviceError: PortAudio fails.
    """
    devices = [
        DeviceInfo(
            index=info["index"], name=info["name"], hostapi=info["hostapi"], channels=info["max_input_channels"],
            rate_hz=info["default_samplerate"], is_default=info["is_default"],
        )
        for info in (portaudio or shared()).inputs()
    ]  # fmt: skip
    server = next((d for d in devices if d.name == pulse.DEVICE), None)
    if server is not None:
        devices += [
            DeviceInfo(server.index, s.description, pulse.HOSTAPI, server.channels, server.rate_hz, False, s.name)
            for s in pulse.sources()
        ]
    seen: Counter[tuple[str, str]] = Counter()
    numbered = []
    for device in devices:
        seen[device.name, device.hostapi] += 1
        numbered.append(replace(device, number=seen[device.name, device.hostapi]))
    return tuple(numbered)


def find_device(wanted: str | int | None, devices: Iterable[DeviceInfo]) -> DeviceInfo:
    """Find a device by index, by its name or a part of it, or (None) the system's default.

    A whole name beats a part of one; case is ignored. Of the same device under several host APIs the first is
    returned, and so is the first of several with the same name; `Yeti #2` is the second one.

    Raises:
        DeviceError: none matches, or several do; the message lists the candidates.
    """
    devices = tuple(devices)
    if not devices:
        raise DeviceError("There is no microphone: plug one in, or name a file to play.")
    if wanted is None:
        return next((d for d in devices if d.is_default), devices[0])
    if isinstance(wanted, int) or wanted.isdecimal():
        match = next((d for d in devices if d.index == int(wanted)), None)
        if match is None:
            raise DeviceError(f"No input device has the index {wanted}; there are {_listed(devices)}.")
        return match
    matches = _matching(wanted.casefold(), devices)
    if not matches:
        raise DeviceError(f"No input device matches {wanted!r}; plug it in, or take one of {_listed(devices)}.")
    matches = [d for d in matches if d.hostapi == matches[0].hostapi]
    if len({d.name for d in matches}) > 1:
        raise DeviceError(f"{wanted!r} matches several input devices: {_listed(matches)}; write more of the name.")
    return matches[0]


def _matching(text: str, devices: tuple[DeviceInfo, ...]) -> list[DeviceInfo]:
    whole = [d for d in devices if text in (d.title.casefold(), d.label.casefold(), d.source.casefold())]
    return whole or [d for d in devices if text in d.label.casefold() or text in d.source.casefold()]


def _listed(devices: Iterable[DeviceInfo]) -> str:
    return ", ".join(f"{d.index} {d.title!r} ({d.hostapi})" for d in devices)


def silence_hint(platform: str = sys.platform) -> str:
    """Return the cure on this platform for a microphone that delivers only zeros."""
    if platform == "darwin":
        return "allow the terminal app under System Settings > Privacy & Security > Microphone, then restart it"
    if platform == "win32":
        return 'turn on "Let desktop apps access your microphone" under Settings > Privacy & security > Microphone'
    return "check that it is not muted, for example with `pavucontrol` or `alsamixer`"
