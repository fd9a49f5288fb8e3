"""The virtual microphone for tests: what is missing skips them, and the microphone can be unplugged.

PortAudio reads its environment when it is initialised, so programs that are to hear this microphone run as subprocesses
with `env`. Unloading the sink is unplugging the microphone.
"""

import subprocess
from pathlib import Path

from streamer.bench import virtual_microphone
from streamer.bench.virtual_microphone import CURE, SINK, MissingPartError
from tests.conftest import missing


def require_parts() -> None:
    """Skip the test where the sound path cannot be built."""
    try:
        virtual_microphone.require_parts()
    except MissingPartError as error:
        missing(str(error), CURE)


class VirtualMicrophone(virtual_microphone.VirtualMicrophone):
    """`always_sink` loads the module that PulseAudio's default.pa has: with it a recording whose source vanished is
    moved to a silent one, without it the recording ends. Skips the test where a part is missing."""

    def __init__(self, always_sink: bool = False) -> None:
        require_parts()
        super().__init__(*["module-always-sink"] * always_sink)
        self.always_sink = always_sink

    def play(self, path: Path) -> None:
        """Speak a sound file into the microphone, to its end."""
        subprocess.run(
            ["paplay", f"--device={SINK}", "--latency-msec=20", str(path)], env=self.env, check=True, timeout=60.0
        )

    def unplug(self) -> None:
        """Unload the sink."""
        self.pactl("unload-module", "module-null-sink")

    def recordings(self) -> str:
        """The server's list of programs that record; empty where none does."""
        return self.pactl("list", "short", "source-outputs").strip()
