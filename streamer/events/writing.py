"""Write events as JSON; field names are frozen by `tests/test_events.py`."""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from numbers import Integral, Real
from typing import Any

from streamer.events.values import SCHEMA, EmotionEnded, EmotionStarted, Event
from streamer.plain_text import printable

_TIMES = {"time", "since", "started"}
_DECIMALS = {
    "confidence": 4, "leaning_confidence": 4, "peak_confidence": 4, "speech": 4, "ring_fill": 4, "real_time_factor": 4,
    "rms_dbfs": 1, "peak_dbfs": 1, "noise_dbfs": 1, "latency_ms": 1, "latency_p50_ms": 1, "latency_p95_ms": 1,
    "effective_rate_hz": 1, "duration_s": 3, "compute_s": 3, "rested_s": 3, "threshold": 4, "enter": 4, "exit": 4,
}  # fmt: skip
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


def _plain(name: str, value: Any) -> Any:
    """Convert `value` to what json can write; numpy's scalars, which json refuses, become Python's."""
    if value is None:
        return None
    if name in _TIMES:
        return iso_time(value)
    if isinstance(value, Mapping):
        return {label: _rounded(p, 4) for label, p in value.items()}
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, str):
        return printable(value)  # a file's name may hold what is no Unicode, which strict readers of JSON refuse
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return _rounded(value, _DECIMALS.get(name))
    return value


def _rounded(value: Real | float, decimals: int | None) -> float:
    number = float(value)
    return number if decimals is None else round(number, decimals) + 0.0  # + 0.0: no -0.0 on the wire
