"""The process's one PortAudio: who has it open, and when it may be restarted to see what was plugged in.

PortAudio lists devices once, when it is initialised. Only terminating and initialising it again shows a device that
came back, and that ends every stream of the process. So all microphones open and close through one `PortAudio`, which
restarts the library only while none of them is alive. Its calls are not thread-safe: one lock serialises them.
"""

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streamer.audio import pulse
from streamer.audio.clock import Clock
from streamer.errors import StreamerError


@dataclass(frozen=True, slots=True)
class CapturedBlock:
    """One callback's audio."""

    frames: npt.NDArray[np.float32]  # [n, channels], a copy
    arrived_s: float  # monotonic moment of the callback
    overflow: bool  # PortAudio lost audio before this block, how much is not known


class Capture:
    """The callback of one opened device; another thread takes `blocks`."""

    def __init__(self, clock: Clock) -> None:
        self.blocks: SimpleQueue[CapturedBlock] = SimpleQueue()
        self.called_s: float | None = None  # monotonic moment of the newest callback
        self._clock = clock

    def callback(self, indata: npt.NDArray[np.float32], frames: int, time: Any, status: Any) -> None:
        """PortAudio hands over `indata` ([frames, channels] float32), which stays its own memory."""
        now = self._clock.monotonic()
        self.blocks.put(CapturedBlock(indata.copy(), now, bool(status.input_overflow)))
        self.called_s = now


_INSTALL = {  # package manager → the line that installs PortAudio with it
    "apt-get": "sudo apt-get install libportaudio2",
    "dnf": "sudo dnf install portaudio",
    "pacman": "sudo pacman -S portaudio",
    "zypper": "sudo zypper install libportaudio2",
    "apk": "sudo apk add portaudio",
    "brew": "brew install portaudio",
}


class PortAudioMissingError(StreamerError):
    """The PortAudio library is not installed, so no microphone can be reached."""


class DeviceError(StreamerError):
    """A device is not there, or cannot be opened now; it may be later."""


class InputStream(Protocol):
    """An opened device; it calls its callback until it is closed."""

    def start(self) -> None:
        """Let the callbacks begin."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


def install_line(which: Callable[[str], str | None] = shutil.which) -> str:
    """What to type here to get PortAudio."""
    line = next((line for manager, line in _INSTALL.items() if which(manager)), None)
    return f"run `{line}`" if line else "install your system's portaudio package"


def import_sounddevice() -> Any:
    """The module `sounddevice`, which loads PortAudio when it is imported.

    Raises:
        PortAudioMissingError: it found no PortAudio library.
        DeviceError: the library is there and fails.
    """
    try:
        return import_module("sounddevice")
    except OSError as error:
        cure = install_line()
        raise PortAudioMissingError(f"Microphones need the PortAudio library, which is missing: {cure}.") from error
    except Exception as error:  # sounddevice.PortAudioError, which cannot be imported now
        raise DeviceError(f"PortAudio does not start: {_in_one_line(error)}; look at the sound server.") from error


class PortAudio:
    """PortAudio as microphones share it; `load` gives the module `sounddevice`."""

    def __init__(self, load: Callable[[], Any] = import_sounddevice) -> None:
        self._load = load
        self.turn = threading.RLock()  # hold it over calls that belong together
        self._alive: set[InputStream] = set()

    def require(self) -> None:
        """Raise PortAudioMissingError where the library is not installed."""
        self._load()

    def refresh(self) -> bool:
        """Look anew at what is plugged in; False where a stream is alive, which a restart would end."""
        sd = self._load()
        with self.turn:
            if self._alive:
                return False
            try:
                while sd._initialized:
                    sd._terminate()
                sd._initialize()
            except sd.PortAudioError as error:
                raise DeviceError(f"PortAudio does not start: {error}; look at the sound server.") from error
            return True

    def inputs(self) -> list[dict[str, Any]]:
        """The input devices as `sounddevice.query_devices` describes them, with `hostapi` as its name, `is_default`."""
        sd = self._load()
        with self.turn:
            try:
                default = sd.query_devices(kind="input")["index"]
            except (sd.PortAudioError, ValueError):
                default = -1  # there is none
            try:
                names = [api["name"] for api in sd.query_hostapis()]
                return [
                    info | {"hostapi": names[info["hostapi"]], "is_default": info["index"] == default}
                    for info in sd.query_devices()
                    if info["max_input_channels"] > 0
                ]
            except sd.PortAudioError as error:
                raise DeviceError(f"PortAudio cannot list the devices: {error}; look at the sound server.") from error

    def open(
        self, index: int, *, rate_hz: float, channels: int, blocksize: int, callback: Any, source: str = ""
    ) -> InputStream:
        """Open and start device `index`; it calls `callback(indata [n, channels] float32, frames, time, status)`.

        `source` names one of PulseAudio's, where the device is `pulse`.

        Raises:
            DeviceError: PortAudio refused.
        """
        sd = self._load()
        with self.turn, pulse.recording_from(source):
            try:
                stream: InputStream = sd.InputStream(
                    device=index, samplerate=rate_hz, channels=channels, blocksize=blocksize,
                    dtype="float32", callback=callback,
                )  # fmt: skip
            except (sd.PortAudioError, ValueError) as error:
                raise _refused(error) from error
            try:
                stream.start()
            except sd.PortAudioError as error:
                stream.close()
                raise _refused(error) from error
            self._alive.add(stream)
            return stream

    def close(self, stream: InputStream) -> None:
        """Release the device behind `stream`."""
        with self.turn:
            stream.close()
            self._alive.discard(stream)


@cache
def shared() -> PortAudio:
    """The process's PortAudio."""
    return PortAudio()


def _refused(error: Exception) -> DeviceError:
    return DeviceError(
        f"The microphone cannot be opened ({_in_one_line(error)}): it may be unplugged, or another program may hold it."
    )


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
