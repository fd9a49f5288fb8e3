"""Read config.toml, STREAMER_… variables and flags, and validate them into one frozen value.

Later wins: built-in defaults, the file, variables (`STREAMER_WINDOW__HOP_S=0.48`), flags. The file is `--config`, else
`STREAMER_CONFIG`, else `config.toml` in the working folder, else the one in the platform's configuration folder.
Anything wrong is one line that names the file (or variable, or flag), the key, the value and what is allowed.
"""

import math
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from streamer.constants import DEFAULT_HOP_S, DEFAULT_WINDOW_S, FRAME_RATE
from streamer.errors import UsageError

PREFIX = "STREAMER_"
RING_HOPS = 3  # the ring's least length: with so many hops waiting the worker sees that it is behind
_VARIABLE = "a variable"
_NO_SETTINGS = (PREFIX + "CONFIG", PREFIX + "SOURCE_PASSWORD")  # variables that stand for no key of the file


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _whole_frames(seconds: float) -> float:
    """Refuse a duration that is not a whole number of 75 Hz frames."""
    if not math.isfinite(seconds):
        raise ValueError("a number of seconds is needed")
    frames = seconds * FRAME_RATE
    if abs(frames - round(frames)) > 1e-6:
        near = max(1, round(frames)) / FRAME_RATE
        raise ValueError(f"a whole number of 1/{FRAME_RATE} s frames is needed; the nearest is {near:.6g}")
    return seconds


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
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    threshold: Literal["auto"] | Share = "auto"
    calibration: bool = True


class VoiceConfig(_Table):
    """The [voice] table: voice activity detection."""

    threshold: Annotated[float, Field(gt=0.15, lt=1)] = 0.5
    min_speech: Share = 0.3


class TrackerConfig(_Table):
    """The [tracker] table: how windows become a stable state."""

    smoothing_s: Annotated[float, Field(ge=0, le=60)] = 1.0
    enter: Literal["auto"] | Share = "auto"
    exit: Literal["auto"] | Share = "auto"
    dwell_s: Annotated[float, Field(ge=0, le=60)] = 0.8
    hang_s: Annotated[float, Field(ge=0, le=60)] = 3.0

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
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    window_every: Annotated[int, Field(ge=1, le=10_000)] = 1
    heartbeat_s: Annotated[float, Field(ge=1, le=3600)] = 10.0
    health_s: Annotated[float, Field(ge=1, le=3600)] = 30.0


class DashboardConfig(_Table):
    """The [dashboard] table: what the screen shows, and how often."""

    refresh_hz: Annotated[float, Field(ge=1, le=30)] = 8.0
    timeline_s: Annotated[float, Field(ge=30, le=3600)] = 300.0
    theme: str = "auto"


class StreamConfig(_Table):
    """One [[stream]] table: one of several sources at once."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")]
    source: str
    source_password_file: str = ""
    channel: Literal["mix"] | Annotated[int, Field(ge=0, le=255)] = "mix"


class Settings(BaseSettings):
    """All of config.toml."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    audio: AudioConfig = AudioConfig()
    window: WindowConfig = WindowConfig()
    model: ModelConfig = ModelConfig()
    voice: VoiceConfig = VoiceConfig()
    tracker: TrackerConfig = TrackerConfig()
    mqtt: MqttConfig = MqttConfig()
    dashboard: DashboardConfig = DashboardConfig()
    stream: tuple[StreamConfig, ...] = ()

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
        names = [s.name for s in self.stream]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"two [[stream]] tables are both named {twice[0]!r}")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """`load` has merged file, variables and flags, so that it can say where a wrong value came from."""
        return (init_settings,)


def load(config: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings in force.

    Args:
        config: the file that `--config` named; None looks in the usual places.
        flags: nested tables of what the command line set, `{"model": {"device": "cpu"}}`.

    Raises:
        UsageError: the file cannot be read or parsed, or a key, type or value is not allowed.
    """
    path = file_in_force(config)
    file = (str(path), _read(path)) if path else ("config.toml", {})
    layers = [file, (_VARIABLE, _variables()), ("flag", dict(flags or {}))]
    merged: dict[str, Any] = {}
    for _, layer in layers:
        merged = _merge(merged, layer)
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise UsageError(_sentence(error, layers)) from None


def file_in_force(config: Path | None = None) -> Path | None:
    """Return the file that `load` reads; None where there is none and the built-in defaults hold."""
    if config is not None:
        return config
    if os.environ.get(PREFIX + "CONFIG"):
        return Path(os.environ[PREFIX + "CONFIG"])
    return next((path for path in usual_places() if path.is_file()), None)


def usual_places() -> tuple[Path, ...]:
    """Return the places where a file is looked for when none is named, in order."""
    return (Path("config.toml"), platformdirs.user_config_path("streamer") / "config.toml")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such configuration file; check --config or {PREFIX}CONFIG.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a UTF-8 text file ({error}).") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: is not valid TOML: {error}.") from None


def _variables() -> dict[str, Any]:
    """Return `STREAMER_WINDOW__HOP_S=0.48` as `{"window": {"hop_s": "0.48"}}`."""
    for variable in sorted(os.environ):
        table, _, key = variable.removeprefix(PREFIX).lower().partition("__")
        known = table in Settings.model_fields and table != "stream" and key
        if variable.startswith(PREFIX) and variable not in _NO_SETTINGS and not known:
            raise UsageError(
                f"{variable}: no such setting; variables are named {PREFIX}TABLE__KEY, as in {PREFIX}WINDOW__HOP_S."
            )
    return EnvSettingsSource(Settings)()


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


_Layers = list[tuple[str, dict[str, Any]]]


def _sentence(error: ValidationError, layers: _Layers) -> str:
    """Return one line for the first of pydantic's errors: where, which key, which value, what is allowed."""
    first = error.errors()[0]
    # A union's branch name ("constrained-int") is part of pydantic's location, but of no key.
    location = [part for part in first["loc"] if isinstance(part, int) or re.fullmatch(r"[a-z][a-z0-9_]*", str(part))]
    location = [part for part in location if part not in ("int", "float", "str")]
    origin = _origin(location, layers)
    key = ".".join(str(part) for part in location) or "[[stream]]"
    if first["type"] == "extra_forbidden":
        return f"{origin}: {key}: no such key; allowed here are {_allowed(location[:-1])}."
    if first["type"] == "missing":
        return f"{origin}: {key}: this key is missing."
    complaints = [e for e in error.errors() if e["loc"][: len(location)] == first["loc"][: len(location)]]
    allowed = "; or ".join(dict.fromkeys(e["msg"].removeprefix("Value error, ") for e in complaints))
    value = "" if isinstance(first["input"], Mapping | BaseModel) else f" = {_shown(first['input'])}"
    return f"{origin}: {key}{value} is not allowed: {allowed[0].lower()}{allowed[1:]}."


def _shown(value: Any) -> str:
    """Return `value` as it may be shown: URLs without credentials and query."""
    text = re.sub(r"://[^\s'\"]*@", "://…@", repr(value))
    return re.sub(r"(://[^\s'\"?]*\?)[^\s'\"]*", r"\1…", text)


def _origin(location: list[Any], layers: _Layers) -> str:
    """Return the layer that the key at `location` came from, topmost first."""
    for name, layer in reversed(layers):
        node: Any = layer
        for part in location:
            inside = (isinstance(node, Mapping) and part in node) or isinstance(node, list | tuple)
            node = node[part] if inside else None
        if location and node is not None:
            return PREFIX + "__".join(map(str, location)).upper() if name == _VARIABLE else name
    return layers[0][0]


def _allowed(table: list[Any]) -> str:
    names = [part for part in table if isinstance(part, str)]
    model: Any = Settings
    if names:
        model = StreamConfig if names[0] == "stream" else Settings.model_fields[names[0]].annotation
    return ", ".join(model.model_fields)
