"""List PulseAudio's sources (and PipeWire's, which has the same protocol), and record from one by name.

Where a sound server owns the microphones, PortAudio lists one ALSA device `pulse` and no names. The server's own tool
lists them, and libpulse records from the one in the variable PULSE_SOURCE.
"""

import os
import re
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
    return parse(_ask("list", "sources") or "")


def recorded_sources() -> frozenset[str]:
    """Return the names of the sources that this process records from; empty where it does not, or nobody answers.

    A server moves a recording to another source where its own one goes, and where the default changes.
    """
    recordings, short = _ask("list", "source-outputs"), _ask("list", "short", "sources")
    if not recordings or not short:
        return frozenset()
    names = {index: name for index, name, *_ in (line.split("\t") for line in short.splitlines() if "\t" in line)}
    return frozenset(names[index] for index in recorded_indices(recordings, os.getpid()) if index in names)


def recorded_indices(listing: str, pid: int) -> list[str]:
    """Return the indices of the sources that a process records from, in the output of `pactl list source-outputs`."""
    found = []
    for block in listing.split("Source Output #")[1:]:
        source = re.search(r"^\s*Source: (\d+)$", block, re.MULTILINE)
        owner = re.search(r'^\s*application\.process\.id = "(\d+)"$', block, re.MULTILINE)
        if source and owner and int(owner[1]) == pid:
            found.append(source[1])
    return found


def _ask(*what: str) -> str | None:
    """Return what `pactl` says; None where it is not installed, or no server answers it."""
    if shutil.which("pactl") is None:
        return None
    try:
        answer = subprocess.run(
            ["pactl", *what],
            capture_output=True, text=True, timeout=2.0, check=True, env=os.environ | {"LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return answer.stdout


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
