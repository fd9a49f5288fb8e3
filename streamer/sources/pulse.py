"""List PulseAudio's sources (and PipeWire's, which has the same protocol), and record from one by name.

Where a sound server owns the microphones, PortAudio lists one ALSA device `pulse` and no names. The server's own tool
lists them, and libpulse records from the one in the variable PULSE_SOURCE.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

DEVICE = "pulse"  # PortAudio's name for ALSA's PulseAudio device
HOSTAPI = "PulseAudio"


@dataclass(frozen=True, slots=True)
class PulseSource:
    """A microphone, or the monitor of an output."""

    name: str  # "alsa_input.usb-Blue_Yeti-00.analog-stereo"
    description: str  # "Blue Yeti Analog Stereo"


def sources() -> tuple[PulseSource, ...]:
    """Return the sources that `pactl` lists; empty where there is no `pactl`, or no server answers it."""
    if shutil.which("pactl") is None:
        return ()
    try:
        answer = subprocess.run(
            ["pactl", "list", "sources"],
            capture_output=True, text=True, timeout=2.0, check=True, env=os.environ | {"LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ()
    return parse(answer.stdout)


def parse(listing: str) -> tuple[PulseSource, ...]:
    """Parse the output of `pactl list sources`, in which a description follows each name."""
    found: list[PulseSource] = []
    name = ""
    for line in listing.splitlines():
        key, _, value = line.strip().partition(": ")
        if key == "Name":
            name = value
        elif key == "Description" and name:
            found.append(PulseSource(name, value))
            name = ""
    return tuple(found)


@contextmanager
def recording_from(source: str) -> Iterator[None]:
    """Make streams that are opened in this context record from `source`; an empty name changes nothing."""
    before = os.environ.get("PULSE_SOURCE")
    if source:
        os.environ["PULSE_SOURCE"] = source
    try:
        yield
    finally:
        if source and before is None:
            del os.environ["PULSE_SOURCE"]
        elif source and before is not None:
            os.environ["PULSE_SOURCE"] = before
