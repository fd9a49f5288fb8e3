"""The values that leave the worker, and their JSON.

Every event is a frozen dataclass. `to_json` and `from_json` are the only places that know the wire format; field names
are frozen by `tests/test_events.py`. Times are seconds since the epoch (UTC) here and ISO 8601 with milliseconds on the
wire. Unknown fields of a newer sender are ignored; missing or mistyped ones raise `MalformedEventError`.
"""

import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime, timedelta
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, TypeVar, get_args

from streamer.errors import StreamerError

T = TypeVar("T")

SCHEMA = 1

Status = Literal[
    "starting", "warming", "live", "silence", "no signal", "no device", "mic lost", "source lost",
    "behind", "paused", "ended",
]  # fmt: skip
STATUSES: tuple[Status, ...] = get_args(Status)


class MalformedEventError(StreamerError):
    """A message is not an event of this schema."""


@dataclass(frozen=True, slots=True)
class Window:
    """One analysis window of one stream."""

    type: ClassVar[str] = "window"
    stream: str
    seq: int  # counts a stream's emitted windows from 0
    time: float  # wall time of the window's end, from the capture clock; never runs backwards
    start_s: float  # sample position / 24,000
    end_s: float
    label: str | None  # None: nobody speaks, the model is unsure, or the window is warming
    confidence: float | None  # the largest probability; None where nothing was inferred
    probs: Mapping[str, float] | None  # every label, summing to 1; None where nothing was inferred
    speech: float  # share of the window with voice activity, 0 to 1
    rms_dbfs: float  # of the newest hop
    peak_dbfs: float
    latency_ms: float | None  # capture of the last sample to this event; None with --fast
    dropped_samples: int  # since the previous window
    warming: bool  # the window is not full of gapless audio yet


@dataclass(frozen=True, slots=True)
class State:
    """The emotion that the stream's tracker holds now: sent on change, and as a heartbeat."""

    type: ClassVar[str] = "state"
    stream: str
    time: float
    label: str | None
    confidence: float | None
    since: float


@dataclass(frozen=True, slots=True)
class EmotionStarted:
    """A stable emotion began. Its `id` returns in the `EmotionEnded` that closes it."""

    type: ClassVar[str] = "transition"
    event_type: ClassVar[str] = "emotion_started"
    stream: str
    id: str  # four characters random per run, then a counter
    time: float
    label: str
    previous: str | None
    confidence: float
    start_s: float


@dataclass(frozen=True, slots=True)
class EmotionEnded:
    """The emotion that `EmotionStarted` with the same `id` announced is over."""

    type: ClassVar[str] = "transition"
    event_type: ClassVar[str] = "emotion_ended"
    stream: str
    id: str
    time: float
    label: str
    duration_s: float
    peak_confidence: float


Transition = EmotionStarted | EmotionEnded


@dataclass(frozen=True, slots=True)
class Health:
    """The condition of a stream, every 30 s on MQTT. None: not measurable (a file has no capture rate)."""

    type: ClassVar[str] = "health"
    stream: str
    time: float
    status: Status
    device: str
    effective_rate_hz: float | None  # native samples a second of wall time
    real_time_factor: float | None  # compute time / audio time
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    ring_fill: float  # 0 to 1
    overflow_events: int  # PortAudio's flag: audio was lost before it reached the program, length unknown
    dropped_samples: int  # samples the ring overwrote before they were read, exact
    skipped_windows: int  # windows not emitted because the worker was behind


@dataclass(frozen=True, slots=True)
class Info:
    """What is running: retained on MQTT, so that a late subscriber knows labels and window length."""

    type: ClassVar[str] = "info"
    version: str
    model: str
    model_sha256: str
    labels: tuple[str, ...]
    sample_rate_hz: int
    window_s: float
    hop_s: float
    streams: tuple[str, ...]
    calibrated: tuple[str, ...] = ()  # those of them whose voice profile is in use


Event = Window | State | EmotionStarted | EmotionEnded | Health | Info

_TIMES = {"time", "since"}
_DECIMALS = {
    "confidence": 4, "peak_confidence": 4, "speech": 4, "ring_fill": 4, "real_time_factor": 4,
    "rms_dbfs": 1, "peak_dbfs": 1, "latency_ms": 1, "latency_p50_ms": 1, "latency_p95_ms": 1,
    "effective_rate_hz": 1, "duration_s": 3,
}  # fmt: skip
_CLASSES: dict[tuple[str, str | None], type[Event]] = {
    (c.type, getattr(c, "event_type", None)): c for c in (Window, State, EmotionStarted, EmotionEnded, Health, Info)
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_time(seconds: float) -> str:
    """Return `2026-11-22T16:30:05.120Z` for seconds since the epoch, rounded to milliseconds.

    Raises:
        ValueError: not a moment between the years 1 and 9999.
    """
    try:
        # Whole milliseconds throughout: a float of seconds would be cut, not rounded, by isoformat.
        moment = _EPOCH + timedelta(milliseconds=round(seconds * 1000))
    except OverflowError as error:
        raise ValueError(f"{seconds} s since the epoch is not a time") from error
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_dict(event: Event) -> dict[str, Any]:
    """Return the event as plain JSON values, keys in wire order."""
    head: dict[str, Any] = {"schema": SCHEMA, "type": event.type}
    body = {f.name: _plain(f.name, getattr(event, f.name)) for f in fields(event)}
    if isinstance(event, EmotionStarted | EmotionEnded):
        return head | {"stream": body.pop("stream"), "event_type": event.event_type} | body
    return head | body


def to_json(event: Event) -> str:
    """Return one line of JSON, plain floats, never NaN.

    Raises:
        ValueError: a figure is NaN or infinite; that is a defect of the sender.
    """
    return json.dumps(to_dict(event), separators=(",", ":"), allow_nan=False)


def from_json(text: str | bytes) -> Event:
    """Parse the event in one JSON message.

    What is not printable in its strings becomes a space: strangers send messages, and their text ends on a terminal.

    Raises:
        MalformedEventError: not JSON, not of this schema, or a field is missing or of the wrong type.
    """
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedEventError(f"The message is not JSON: {error}.") from error
    if not isinstance(message, dict):
        raise MalformedEventError(f"The message is a {type(message).__name__}, not a JSON object.")
    schema = message.get("schema")
    if type(schema) is not int or schema != SCHEMA:  # True == 1, and neither it nor 1.0 is a schema number
        raise MalformedEventError(f"The message has schema {reprlib.repr(schema)}; this version reads {SCHEMA}.")
    cls = _class_of(message)
    wanted = [f for f in fields(cls) if f.name in message or f.default is MISSING]  # an older sender lacks newer ones
    return cls(**{f.name: _read(f.name, str(f.type), message) for f in wanted})


def _class_of(message: Mapping[str, Any]) -> type[Event]:
    kind = message.get("type")
    event_type = message.get("event_type") if kind == "transition" else None
    if isinstance(kind, str) and (event_type is None or isinstance(event_type, str)):
        cls = _CLASSES.get((kind, event_type))
        if cls is not None:
            return cls
    event_type_shown = f" (event_type {reprlib.repr(event_type)})" if kind == "transition" else ""
    raise MalformedEventError(f"The message's type {reprlib.repr(kind)}{event_type_shown} is not known.")


def _plain(name: str, value: Any) -> Any:
    """Convert `value` to what json can write; numpy's scalars, which json refuses, become Python's."""
    if name in _TIMES:
        return iso_time(value)
    if isinstance(value, Mapping):
        return {label: _rounded(p, 4) for label, p in value.items()}
    if isinstance(value, tuple):
        return list(value)
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return _rounded(value, _DECIMALS.get(name))
    return value


def _rounded(value: Real | float, decimals: int | None) -> float:
    number = float(value)
    return number if decimals is None else round(number, decimals) + 0.0  # + 0.0: no -0.0 on the wire


def _read(name: str, declared: str, message: Mapping[str, Any]) -> Any:
    """Return one field of `message`, checked against the dataclass's annotation."""
    if name not in message:
        raise MalformedEventError(f"The {message['type']} message lacks the field {name!r}.")
    value = message[name]
    if value is None and "None" in declared:
        return None
    try:
        return _checked(name, declared, value)
    except (TypeError, ValueError, OverflowError) as error:
        shown = reprlib.repr(value)  # bounded in length and depth, whatever was sent
        raise MalformedEventError(f"The {message['type']} message's {name!r} is {shown}: {error}.") from error


def _checked(name: str, declared: str, value: Any) -> Any:
    if name in _TIMES:
        return _timestamp(_typed(value, str))
    if "Mapping" in declared:
        return {_printable(k): _number(v) for k, v in _typed(value, dict).items()}
    if "tuple" in declared:
        return tuple(_printable(_typed(item, str)) for item in _typed(value, list))
    if name == "status":
        if value not in STATUSES:
            raise ValueError(f"it must be one of {', '.join(STATUSES)}")
        return value
    if "float" in declared:
        return _number(value)
    if "bool" in declared:
        return _typed(value, bool)
    return _typed(value, int) if "int" in declared else _printable(_typed(value, str))


def _timestamp(text: str) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:  # it would be read as this machine's local time
        raise ValueError("it must say its time zone")
    return moment.timestamp()


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _typed(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"it must be a {kind.__name__}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("it must be a finite number")
    return float(value)
