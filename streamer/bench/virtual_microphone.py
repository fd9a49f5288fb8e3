"""A microphone without hardware: a private PulseAudio server whose null sink is captured through PortAudio.

Audio played into the sink comes out of its monitor, which is the server's default source. PortAudio reaches it through
ALSA's PulseAudio plugin. Server, socket and files are private: the machine's own sound server is neither used nor
changed.
"""

import contextlib
import ctypes.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from streamer.bench.program import end
from streamer.errors import StreamerError

SINK = "vmic"
PLAYER_BUFFER_MS = 20  # playback latency that the player requests from the server
START_S = 5.0
CURE = "sudo apt-get install pulseaudio pulseaudio-utils libasound2-plugins libportaudio2"
_ASOUNDRC = "pcm.!default { type pulse }\nctl.!default { type pulse }\n"
_PRIVATE = ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "PULSE_RUNTIME_PATH")
_FOREIGN = ("PULSE_SOURCE", "PULSE_SINK", "DISPLAY", "DBUS_SESSION_BUS_ADDRESS")


class MissingPartError(StreamerError):
    """A program or library that a real sound path needs is not installed."""


class VirtualMicrophone:
    """A context manager. Programs run with `env` capture from it; this process does inside `environment`.

    Args:
        modules: PulseAudio modules to load beside the socket and the sink.
    """

    def __init__(self, *modules: str) -> None:
        # A socket's path is limited to 107 characters, so the folder's name is short.
        self._folder = tempfile.TemporaryDirectory(prefix="vmic-")
        self._modules = modules
        self._server: subprocess.Popen[bytes] | None = None
        folder = Path(self._folder.name)
        self._socket = folder / "native"
        (folder / ".asoundrc").write_text(_ASOUNDRC)
        self._own = dict.fromkeys(_PRIVATE, str(folder)) | {"PULSE_SERVER": f"unix:{self._socket}", "LC_ALL": "C"}
        self.env = {name: value for name, value in os.environ.items() if name not in _FOREIGN} | self._own

    def __enter__(self) -> "VirtualMicrophone":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and plug in the microphone.

        Raises:
            MissingPartError: PulseAudio, one of its tools, or PortAudio is not installed.
            StreamerError: the server does not start.
        """
        try:
            require_parts()
        except MissingPartError:
            self.stop()
            raise
        modules = (f"module-native-protocol-unix socket={self._socket} auth-anonymous=1", *self._modules)
        self._server = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--log-level=error",
             *(f"--load={module}" for module in modules)],
            env={name: value for name, value in self.env.items() if name != "PULSE_SERVER"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        while subprocess.run(["pactl", "info"], env=self.env, capture_output=True).returncode != 0:
            if self._server.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise StreamerError("The private PulseAudio server does not start; try `pulseaudio -n -vv` for why.")
            time.sleep(0.05)
        self.plug_in()
        self.pactl("set-default-source", f"{SINK}.monitor")

    def stop(self) -> None:
        """Stop the server and remove its files. Safe to call twice."""
        if self._server is not None:
            end(self._server)
            self._server = None
        self._folder.cleanup()

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        """Point this process at the server: PortAudio and libpulse read these variables when they initialise."""
        before = dict(os.environ)
        for name in _FOREIGN:
            os.environ.pop(name, None)
        os.environ.update(self._own)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def pactl(self, *arguments: str) -> str:
        """Run `pactl` against the private server and return its output."""
        done = subprocess.run(
            ["pactl", *arguments], env=self.env, check=True, capture_output=True, text=True, timeout=5.0
        )
        return done.stdout

    def plug_in(self) -> None:
        """Load the sink: the microphone appears."""
        # Without rewinds the sink renders every 50 ms, as hardware would, and not every 2 s.
        self.pactl("load-module", "module-null-sink", f"sink_name={SINK}", "norewinds=1")

    def player(self, rate_hz: int) -> subprocess.Popen[bytes]:
        """Start a `pacat` that plays its standard input (mono s16le) into the microphone."""
        return subprocess.Popen(
            ["pacat", "--playback", f"--device={SINK}", "--raw", "--format=s16le", f"--rate={rate_hz}", "--channels=1",
             f"--latency-msec={PLAYER_BUFFER_MS}"],
            env=self.env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def require_parts() -> None:
    """Check that the sound path can be built on this machine.

    Raises:
        MissingPartError: PulseAudio, one of its tools, or PortAudio is not installed.
    """
    lacking = [program for program in ("pulseaudio", "pactl", "pacat") if shutil.which(program) is None]
    if ctypes.util.find_library("portaudio") is None and sys.platform == "linux":
        lacking.append("PortAudio")  # wheels for other systems carry it
    if lacking:
        raise MissingPartError(
            f"The virtual microphone needs PulseAudio and PortAudio, and {', '.join(lacking)} is missing here: "
            f"`{CURE}`."
        )
