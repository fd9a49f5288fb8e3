"""Read config.toml, STREAMER_… variables and flags, and validate them into one frozen value.

Later wins: built-in defaults, the file, variables (`STREAMER_WINDOW__HOP_S=0.48`), flags. The file is `--config`, else
`STREAMER_CONFIG`, else `config.toml` in the working folder, else the one in the platform's configuration folder.
Everything that is wrong is said at once, a line each, which names the file (or variable, or flag), the key, the value
and what is allowed.
"""

import difflib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
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

from streamer.config_actions import MAX_ACTIONS, ActionConfig
from streamer.config_errors import Complaint, Location, complaints, quoted_numbers
from streamer.constants import DEFAULT_HOP_S, DEFAULT_WINDOW_S, FRAME_RATE
from streamer.errors import UsageError
from streamer.names import plain_name
from streamer.toml_errors import read_toml

PREFIX = "STREAMER_"
RING_HOPS = 3  # the ring's least length: with so many hops waiting the worker sees that it is behind
_VARIABLE = PREFIX + "{key}"
_NO_SETTINGS = (PREFIX + "CONFIG", PREFIX + "SOURCE_PASSWORD")  # variables that stand for no key of the file
_OF_ACTIONS = PREFIX + "EVENT_"  # variables of a command that an action runs; it may be this program


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


class SettingsError(UsageError):
    """One or more settings are wrong; the message holds a line for each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(problems[0] if len(problems) == 1 else f"{len(problems)} settings are wrong:{lines}")
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force, and how they came about."""

    settings: Settings
    file: Path | None  # that was read; None: there is none
    layers: tuple[tuple[str, Mapping[str, Any]], ...]  # the file, the variables and the flags, by name
    problems: tuple[str, ...] = ()  # what is wrong, a sentence each
    replaced: tuple[Location, ...] = ()  # keys with the default in place of what is wrong


def load(config: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings in force.

    Args:
        config: the file that `--config` named; None looks in the usual places.
        flags: nested tables of what the command line set, `{"model": {"device": "cpu"}}`.

    Raises:
        UsageError: the file cannot be read or parsed, or keys, types or values are not allowed.
    """
    loaded = load_with_problems(config, flags)
    if loaded.problems:
        raise SettingsError(loaded.problems)
    return loaded.settings


def load_with_problems(config: Path | None = None, flags: Mapping[str, Any] | None = None) -> Loaded:
    """Return the settings in force, with the defaults in the place of what is wrong, and what that is.

    Args:
        config, flags: as for `load`.
    """
    path, problems, tables = file_in_force(config), [], {}
    if path is not None:
        try:
            tables = read_toml(path, PREFIX + "CONFIG" if config is None and _named() else "")
        except UsageError as error:
            problems.append(str(error))
    variables, unknown = _variables()
    problems += unknown
    layers = ((str(path or "config.toml"), tables), (_VARIABLE, variables), ("flag", dict(flags or {})))
    settings, wrong = _validated(layers)
    texts = tuple(complaint.text for complaint in wrong)
    return Loaded(settings, path, layers, (*problems, *texts), tuple(complaint.location for complaint in wrong))


def _validated(layers: tuple[tuple[str, Mapping[str, Any]], ...]) -> tuple[Settings, list[Complaint]]:
    """Return the settings of `layers` without what is wrong, and the complaints about that."""
    name, file = layers[0]
    found = quoted_numbers(name, file, Settings)
    merged = _without(file, [complaint.location for complaint in found])
    for _, layer in layers[1:]:
        merged = _merge(merged, layer)
    while True:
        try:
            return Settings(**merged), found
        except ValidationError as error:
            new = complaints(error, layers, Settings)
            found += new
            before, merged = merged, _without(merged, [complaint.location for complaint in new])
            if merged == before:  # never, as far as known: each complaint is about a key
                return Settings(), found


def _without(tables: Mapping[str, Any], locations: list[Location]) -> dict[str, Any]:
    """Return a copy of `tables` without the keys at `locations`; of a [[stream]] table the whole is left out."""
    kept: dict[str, Any] = {}
    for table, content in tables.items():
        wrong = [location[:2] for location in locations if location[:1] == (table,)]
        if not wrong:
            kept[table] = content
        elif any(len(location) == 1 for location in wrong):
            continue
        elif isinstance(content, Mapping):
            kept[table] = {key: value for key, value in content.items() if (table, key) not in wrong}
        else:
            indices = {location[1] for location in wrong}
            kept[table] = [one for index, one in enumerate(content) if index not in indices]
    if () in locations:  # two [[stream]] or [[action]] tables of one name
        kept.pop("stream", None)
        kept.pop("action", None)
    return kept


def file_in_force(config: Path | None = None) -> Path | None:
    """Return the file that `load` reads; None where there is none and the built-in defaults hold."""
    if config is not None:
        return config
    if _named():
        return Path(os.environ[PREFIX + "CONFIG"])
    return next((path for path in usual_places() if path.is_file()), None)


def _named() -> bool:
    return bool(os.environ.get(PREFIX + "CONFIG"))


def usual_places() -> tuple[Path, ...]:
    """Return the places where a file is looked for when none is named, in order."""
    return (Path("config.toml"), platformdirs.user_config_path("streamer") / "config.toml")


def _variables() -> tuple[dict[str, Any], list[str]]:
    """Return `STREAMER_WINDOW__HOP_S=0.48` as `{"window": {"hop_s": "0.48"}}`, and what is wrong with others."""
    tables: dict[str, Any] = {}
    unknown = []
    for variable in sorted(os.environ):
        if not variable.upper().startswith(PREFIX) or _is_no_setting(variable):
            continue
        table, _, key = variable[len(PREFIX) :].lower().partition("__")
        if table in Settings.model_fields and table not in ("stream", "action") and key:
            tables.setdefault(table, {})[key] = os.environ[variable]
        else:
            unknown.append(
                f"{variable}: no such setting; variables are named {PREFIX}TABLE__KEY, as in {PREFIX}WINDOW__HOP_S."
            )
    return tables, unknown


def _is_no_setting(variable: str) -> bool:
    return variable in _NO_SETTINGS or variable.startswith(_OF_ACTIONS)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
