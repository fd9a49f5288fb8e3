"""Share one PortAudio among the microphones of the process, and restart it to find devices that were plugged in.

PortAudio lists devices once, when it is initialised. Only terminating and initialising it again shows a device that
was plugged in later, and that ends every stream of the process. So all microphones open and close through one
`PortAudio`, which restarts the library only while none of them is open. Its calls are not thread-safe: one lock
serialises them.
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

from streamer.audio.clock import Clock
from streamer.errors import StreamerError
from streamer.sources import pulse


@dataclass(frozen=True, slots=True)
class CapturedBlock:
    """The audio of one callback."""

    frames: npt.NDArray[np.float32]  # [n, channels], a copy
    arrived_s: float  # monotonic moment of the callback
    overflow: bool  # PortAudio lost an unknown amount of audio before this block


class Capture:
    """Queues the blocks of one open device from its callback; another thread takes them from `blocks`."""

    def __init__(self, clock: Clock) -> None:
        self.blocks: SimpleQueue[CapturedBlock] = SimpleQueue()
        self.last_callback_s: float | None = None  # monotonic
        self._clock = clock

    def callback(self, indata: npt.NDArray[np.float32], frames: int, time: Any, status: Any) -> None:
        """Copy `indata` ([frames, channels] float32), which stays PortAudio's memory, and queue it."""
        now = self._clock.monotonic()
        self.blocks.put(CapturedBlock(indata.copy(), now, bool(status.input_overflow)))
        self.last_callback_s = now


_INSTALL = {  # package manager → its command that installs PortAudio
    "apt-get": "sudo apt-get install libportaudio2",
    "dnf": "sudo dnf install portaudio",
    "pacman": "sudo pacman -S portaudio",
    "zypper": "sudo zypper install libportaudio2",
    "apk": "sudo apk add portaudio",
    "brew": "brew install portaudio",
}


class PortAudioMissingError(StreamerError):
    """The PortAudio library is not installed, so no microphone can be opened."""


class DeviceError(StreamerError):
    """A device is missing or cannot be opened now; a later attempt may succeed."""


class InputStream(Protocol):
    """An open device, which calls its callback from `start` until `close`."""

    def start(self) -> None:
        """Start the callbacks."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


def install_line(which: Callable[[str], str | None] = shutil.which) -> str:
    """Return how to install PortAudio on this machine."""
    line = next((line for manager, line in _INSTALL.items() if which(manager)), None)
    return f"run `{line}`" if line else "install your system's portaudio package"


def import_sounddevice() -> Any:
    """Import the module `sounddevice`, which loads PortAudio.

    Raises:
        PortAudioMissingError: there is no PortAudio library.
        DeviceError: the library is there but fails.
    """
    try:
        return import_module("sounddevice")
    except OSError as error:
        cure = install_line()
        raise PortAudioMissingError(f"Microphones need the PortAudio library, which is missing: {cure}.") from error
    except Exception as error:  # sounddevice.PortAudioError, which cannot be imported now
        raise DeviceError(f"PortAudio does not start: {_in_one_line(error)}; check the sound server.") from error


class PortAudio:
    """PortAudio as the microphones share it; `load` returns the module `sounddevice`.

    `sound_server`: the devices are this machine's own, so that its sound server says when one comes.
    """

    def __init__(self, load: Callable[[], Any] = import_sounddevice, *, sound_server: bool = False) -> None:
        self._load = load
        self.sound_server = sound_server
        self.lock = threading.RLock()  # hold it across calls that belong together
        self._open_streams: set[InputStream] = set()

    def require(self) -> None:
        """Raise PortAudioMissingError where the library is not installed."""
        self._load()

    def version(self) -> str:
        """Return the library's version as one line."""
        return str(self._load().get_portaudio_version()[1])

    def refresh(self) -> bool:
        """Restart PortAudio to update its device list; return False where a stream is open, which that would end."""
        sd = self._load()
        with self.lock:
            if self._open_streams:
                return False
            try:
                while sd._initialized:
                    sd._terminate()
                sd._initialize()
            except sd.PortAudioError as error:
                raise DeviceError(f"PortAudio does not start: {error}; check the sound server.") from error
            return True

    def inputs(self) -> list[dict[str, Any]]:
        """Return the input devices as `sounddevice.query_devices` does, with `hostapi` as its name and `is_default`."""
        sd = self._load()
        with self.lock:
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
                raise DeviceError(f"PortAudio cannot list the devices: {error}; check the sound server.") from error

    def open(
        self, index: int, *, rate_hz: float, channels: int, blocksize: int, callback: Any, source: str = ""
    ) -> InputStream:
        """Open and start device `index`; it calls `callback(indata [n, channels] float32, frames, time, status)`.

        `source` names one of PulseAudio's, where the device is `pulse`.

        Raises:
            DeviceError: PortAudio refused.
        """
        sd = self._load()
        with self.lock, pulse.recording_from(source):
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
            self._open_streams.add(stream)
            return stream

    def close(self, stream: InputStream) -> None:
        """Release the device behind `stream`."""
        with self.lock:
            stream.close()
            self._open_streams.discard(stream)


@cache
def shared() -> PortAudio:
    """Return the PortAudio of this process."""
    return PortAudio(sound_server=True)


def _refused(error: Exception) -> DeviceError:
    return DeviceError(
        f"The microphone cannot be opened ({_in_one_line(error)}): it may be unplugged, or another program may hold it."
    )


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
