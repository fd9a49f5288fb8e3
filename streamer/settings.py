"""The settings: every table of config.toml, with its defaults and bounds, as frozen pydantic models."""

import difflib
import math
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from streamer.config_actions import MAX_ACTIONS, ActionConfig
from streamer.constants import (
    DEFAULT_DWELL_S,
    DEFAULT_HANG_S,
    DEFAULT_HOP_S,
    DEFAULT_SMOOTHING_S,
    DEFAULT_WINDOW_S,
    FRAME_RATE,
)
from streamer.names import plain_name

RING_HOPS = 3  # the ring's least length: with so many hops waiting the worker sees that it is behind


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="after")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        # Neither a path, a topic nor a name can hold one, and the system's own complaint is no sentence.
        if isinstance(value, str) and "\0" in value:
            raise ValueError("a NUL character cannot be part of it")
        return value


def _whole_frames(seconds: float) -> float:
    """Refuse a duration that is not a whole number of 75 Hz frames."""
    frames = seconds * FRAME_RATE
    if not math.isfinite(frames):
        raise ValueError("a number of seconds is needed")
    if abs(frames - round(frames)) > 1e-6:
        near = max(1, round(frames)) / FRAME_RATE
        raise ValueError(f"a whole number of 1/{FRAME_RATE} s frames is needed; the nearest is {near:.6g}")
    return seconds


def _torch_device(name: str) -> str:
    """Refuse a word that is no device of torch's, in words instead of in a regular expression."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        word = name.lower().replace("gpu", "cuda")
        near = difflib.get_close_matches(word, ("auto", "cpu", "mps", "cuda"), n=1)
        meant = f'did you mean "{near[0]}"? Else, ' if near else ""
        raise ValueError(f'{meant}it must be "auto", "cpu", "mps", "cuda" or "cuda:N", N counting GPUs from 0')
    return name


Frames = Annotated[float, AfterValidator(_whole_frames)]
Share = Annotated[float, Field(ge=0, le=1)]


class AudioConfig(_Table):
    """The [audio] table: the source, when there is no [[stream]] table, and its ring."""

    source: str = "auto"
    source_password_file: str = ""
    channel: Literal["mix"] | Annotated[int, Field(ge=0, le=255)] = "mix"
    block_ms: Annotated[float, Field(ge=5, le=500)] = 20.0
    ring_s: Annotated[float, Field(ge=1, le=120)] = 8.0


class WindowConfig(_Table):
    """The [window] table: length of a window, and distance of two."""

    window_s: Annotated[Frames, Field(ge=0.2, le=30)] = DEFAULT_WINDOW_S
    hop_s: Annotated[Frames, Field(ge=1 / FRAME_RATE, le=10)] = DEFAULT_HOP_S

    @model_validator(mode="after")
    def _hop_fits(self) -> "WindowConfig":
        if self.hop_s > self.window_s:
            raise ValueError(f"hop_s = {self.hop_s:g} must not be longer than window_s = {self.window_s:g}")
        return self

    @property
    def frames(self) -> int:
        """Frames in a window."""
        return round(self.window_s * FRAME_RATE)

    @property
    def hop_frames(self) -> int:
        """Frames in a hop."""
        return round(self.hop_s * FRAME_RATE)


class ModelConfig(_Table):
    """The [model] table: the checkpoint, where it runs, and how."""

    checkpoint: str = "bundled"
    device: Annotated[str, AfterValidator(_torch_device)] = "auto"
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    threshold: Literal["auto"] | Share = "auto"
    calibration: bool = True
    rest: bool = True


class VoiceConfig(_Table):
    """The [voice] table: voice activity detection."""

    threshold: Annotated[float, Field(gt=0.15, lt=1)] = 0.5
    min_speech: Share = 0.3


class TrackerConfig(_Table):
    """The [tracker] table: how windows become a stable state."""

    smoothing_s: Annotated[float, Field(ge=0, le=60)] = DEFAULT_SMOOTHING_S
    enter: Literal["auto"] | Share = "auto"
    exit: Literal["auto"] | Share = "auto"
    dwell_s: Annotated[float, Field(ge=0, le=60)] = DEFAULT_DWELL_S
    hang_s: Annotated[float, Field(ge=0, le=60)] = DEFAULT_HANG_S

    @model_validator(mode="after")
    def _exit_below_enter(self) -> "TrackerConfig":
        if self.enter != "auto" and self.exit != "auto" and self.exit > self.enter:
            raise ValueError(f"exit = {self.exit:g} must not be above enter = {self.enter:g}")
        return self


class MqttConfig(_Table):
    """The [mqtt] table: the broker, and how often events are sent."""

    url: str = "embedded"
    prefix: str = "streamer"
    node: str = "auto"
    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: str = ""
    embedded_access: Literal["read", "secret", "open"] = "read"
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    window_every: Annotated[int, Field(ge=1, le=10_000)] = 1
    heartbeat_s: Annotated[float, Field(ge=1, le=3600)] = 10.0
    health_s: Annotated[float, Field(ge=1, le=3600)] = 30.0
    remote_unmute: bool = False
    discovery: bool = False
    discovery_prefix: str = "homeassistant"


class MetricsConfig(_Table):
    """The [metrics] table: where Prometheus finds its figures."""

    listen: str = "off"


class WebConfig(_Table):
    """The [web] table: the page in the browser."""

    listen: str = "off"
    open_to_network: bool = False
    token_file: str = ""


class DashboardConfig(_Table):
    """The [dashboard] table: what the screen shows, and how often."""

    refresh_hz: Annotated[float, Field(ge=1, le=30)] = 8.0
    timeline_s: Annotated[float, Field(ge=30, le=3600)] = 300.0
    theme: str = "auto"


class RecordConfig(_Table):
    """The [record] table: events kept in daily files and, only where asked for, clips of the audio."""

    folder: str = ""
    window_every: Annotated[int, Field(ge=1, le=10_000)] = 1
    max_mb: Annotated[int, Field(ge=8, le=10_000_000)] = 2_000
    clips: bool = False
    clips_max_mb: Annotated[int, Field(ge=1, le=1_000_000)] = 200


class StreamConfig(_Table):
    """One [[stream]] table: one of several sources at once."""

    name: Annotated[str, AfterValidator(plain_name)]
    source: str
    source_password_file: str = ""
    channel: Literal["mix"] | Annotated[int, Field(ge=0, le=255)] = "mix"


class Settings(_Table):
    """All of config.toml."""

    audio: AudioConfig = AudioConfig()
    window: WindowConfig = WindowConfig()
    model: ModelConfig = ModelConfig()
    voice: VoiceConfig = VoiceConfig()
    tracker: TrackerConfig = TrackerConfig()
    mqtt: MqttConfig = MqttConfig()
    metrics: MetricsConfig = MetricsConfig()
    web: WebConfig = WebConfig()
    dashboard: DashboardConfig = DashboardConfig()
    record: RecordConfig = RecordConfig()
    stream: tuple[StreamConfig, ...] = ()
    action: Annotated[tuple[ActionConfig, ...], Field(max_length=MAX_ACTIONS)] = ()

    @field_validator("window")
    @classmethod
    def _ring_holds_hops(cls, window: WindowConfig, info: ValidationInfo) -> WindowConfig:
        audio: AudioConfig | None = info.data.get("audio")  # none where that is wrong itself
        needed_s = RING_HOPS * window.hop_frames / FRAME_RATE
        if audio is not None and audio.ring_s < needed_s:
            raise ValueError(
                f"audio.ring_s = {audio.ring_s:g} must hold {RING_HOPS} hops of hop_s = {window.hop_s:g}; "
                f"set audio.ring_s to {needed_s:g} or more, or take a shorter hop_s"
            )
        return window

    @model_validator(mode="after")
    def _names_differ(self) -> "Settings":
        for title, names in (("stream", [s.name for s in self.stream]), ("action", [a.name for a in self.action])):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"two [[{title}]] tables are both named {twice[0]!r}")
        return self
