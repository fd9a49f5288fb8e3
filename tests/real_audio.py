"""A microphone without hardware: a private PulseAudio server whose null sink is heard through PortAudio.

What is played into the sink comes out of its monitor, which is the server's default source. PortAudio reaches it
through ALSA's PulseAudio plugin. It reads its environment when it is initialised, so programs that are to hear this
microphone run as subprocesses with `env`. Unloading the sink is unplugging the microphone.
"""

import ctypes.util
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from conftest import missing

SINK = "vmic"
ASOUNDRC = "pcm.!default { type pulse }\nctl.!default { type pulse }\n"
CURE = "apt-get install pulseaudio pulseaudio-utils libasound2-plugins libportaudio2"


class VirtualMicrophone:
    """`always_sink` loads the module that PulseAudio's default.pa has: with it a recording whose source vanished is
    moved to a silent one, without it the recording ends."""

    def __init__(self, always_sink: bool = False) -> None:
        # Not pytest's tmp_path: the path of a socket may have 107 characters.
        self._folder = tempfile.TemporaryDirectory(prefix="vmic-")
        self.always_sink = always_sink
        self._server: subprocess.Popen[bytes] | None = None
        folder = Path(self._folder.name)
        self._socket = folder / "native"
        (folder / ".asoundrc").write_text(ASOUNDRC)
        private = {name: str(folder) for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "PULSE_RUNTIME_PATH")}
        self.env = os.environ | private | {"PULSE_SERVER": f"unix:{self._socket}", "LC_ALL": "C"}
        for name in ("PULSE_SOURCE", "PULSE_SINK", "DISPLAY", "DBUS_SESSION_BUS_ADDRESS"):
            self.env.pop(name, None)

    def __enter__(self) -> "VirtualMicrophone":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server; skips the test where a part is missing."""
        for program in ("pulseaudio", "pactl", "paplay"):
            if shutil.which(program) is None:
                missing(program, CURE)
        if ctypes.util.find_library("portaudio") is None:
            missing("PortAudio", CURE)
        modules = [f"module-native-protocol-unix socket={self._socket} auth-anonymous=1"]
        if self.always_sink:
            modules.append("module-always-sink")
        self._server = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--log-level=error",
             *(f"--load={module}" for module in modules)],
            env={name: value for name, value in self.env.items() if name != "PULSE_SERVER"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 5.0
        while subprocess.run(["pactl", "info"], env=self.env, capture_output=True).returncode != 0:
            assert time.monotonic() < deadline, "PulseAudio does not answer"
            time.sleep(0.05)
        self.reload()
        self.pactl("set-default-source", f"{SINK}.monitor")

    def stop(self) -> None:
        """End the server and remove its files. Safe to call twice."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(timeout=5.0)
            self._server = None
        self._folder.cleanup()

    def pactl(self, *arguments: str) -> str:
        """What `pactl` answers."""
        return subprocess.run(
            ["pactl", *arguments], env=self.env, check=True, capture_output=True, text=True, timeout=5.0
        ).stdout

    def play(self, path: Path) -> None:
        """Speak a sound file into the microphone, to its end."""
        subprocess.run(
            ["paplay", f"--device={SINK}", "--latency-msec=20", str(path)], env=self.env, check=True, timeout=60.0
        )

    def unload(self) -> None:
        """Unplug the microphone."""
        self.pactl("unload-module", "module-null-sink")

    def reload(self) -> None:
        """Plug it in."""
        # Without rewinds the sink renders every 50 ms, as hardware would, and not every 2 s.
        self.pactl("load-module", "module-null-sink", f"sink_name={SINK}", "norewinds=1")

    def recordings(self) -> str:
        """The server's list of programs that record; empty where none does."""
        return self.pactl("list", "short", "source-outputs").strip()
