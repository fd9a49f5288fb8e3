"""PortAudio as the microphone sees it, with devices that can be plugged in and out, and a clock that is set."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np


@dataclass
class FakeClock:
    """Implements `Clock`."""

    now: float = 100.0
    epoch: float = 1_800_000_000.0  # the wall time at which `now` is 0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.epoch + self.now


class PortAudioError(Exception):
    """As sounddevice's."""


@dataclass(eq=False)
class FakeStream:
    """Implements sounddevice.InputStream."""

    module: "FakeSounddevice"
    device: int
    samplerate: float
    channels: int
    blocksize: int
    dtype: str
    callback: Callable[..., None]
    started: bool = False
    closed: bool = False

    def start(self) -> None:
        if self.module.start_fails:
            raise PortAudioError("Error starting stream")
        self.started = True

    def close(self) -> None:
        self.closed = True

    def deliver(self, block: np.ndarray, overflow: bool = False) -> None:
        """Call back as PortAudio does: the memory is reused afterwards."""
        assert self.started
        assert not self.closed
        memory = block.astype(np.float32)
        self.callback(memory, len(memory), SimpleNamespace(), SimpleNamespace(input_overflow=overflow))
        memory[:] = np.nan


@dataclass
class FakeSounddevice:
    """The part of the module `sounddevice` that streamer uses. `plugged` is seen after `_initialize` only."""

    plugged: list[dict[str, Any]] = field(default_factory=list)
    streams: list[FakeStream] = field(default_factory=list)
    restarts: int = 0
    start_fails: bool = False
    _initialized: int = 1
    _listed: list[dict[str, Any]] = field(default_factory=list)
    PortAudioError = PortAudioError

    def __post_init__(self) -> None:
        self._listed = list(self.plugged)

    def _terminate(self) -> None:
        assert not self.alive, "a restart ends every living stream"
        self._initialized -= 1

    def _initialize(self) -> None:
        self._initialized += 1
        self.restarts += 1
        self._listed = list(self.plugged)

    def query_devices(self, kind: str | None = None) -> Any:
        devices = [device | {"index": index} for index, device in enumerate(self._listed)]
        if kind is None:
            return devices
        inputs = [device for device in devices if device["max_input_channels"]]
        if not inputs:
            raise PortAudioError("Error querying device -1")
        return inputs[0]

    def query_hostapis(self) -> list[dict[str, str]]:
        return [{"name": "Core Audio"}, {"name": "JACK"}]

    def InputStream(self, **options: Any) -> FakeStream:  # noqa: N802
        if options["device"] >= len(self._listed) or self._listed[options["device"]] not in self.plugged:
            raise PortAudioError("Error opening\n InputStream: Device unavailable")
        stream = FakeStream(self, **options)
        self.streams.append(stream)
        return stream

    @property
    def alive(self) -> list[FakeStream]:
        return [stream for stream in self.streams if not stream.closed]


def device(name: str, rate_hz: float = 48_000.0, channels: int = 1, hostapi: int = 0) -> dict[str, Any]:
    """One entry of `query_devices`."""
    return {
        "name": name, "hostapi": hostapi, "max_input_channels": channels, "max_output_channels": 0,
        "default_samplerate": rate_hz,
    }  # fmt: skip
