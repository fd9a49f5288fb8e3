"""The wire format: every field name, both ways, and what malformed messages do."""

import json
import math
from dataclasses import MISSING, fields, replace
from types import NoneType
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.events import (
    STATUSES,
    EmotionEnded,
    EmotionStarted,
    Event,
    Health,
    Info,
    MalformedEventError,
    State,
    Window,
    from_json,
    iso_time,
    to_dict,
    to_json,
)

TIME = 1_795_365_005.12  # 2026-11-22T16:30:05.120Z

# One message of every kind, exactly as automations outside of this project read them. Renaming or dropping a field
# breaks those; a new field may be added at the end.
CONTRACT: dict[str, tuple[Event, str]] = {
    "window": (
        Window(
            stream="desk", seq=4711, time=TIME, start_s=4708.0, end_s=4711.0, label="happy", confidence=0.71,
            probs={"neutral": 0.29, "happy": 0.71}, speech=0.93, rms_dbfs=-27.4, peak_dbfs=-12.1, latency_ms=43.0,
            dropped_samples=0, warming=False,
        ),
        '{"schema":1,"type":"window","stream":"desk","seq":4711,"time":"2026-11-22T16:30:05.120Z","start_s":4708.0,'
        '"end_s":4711.0,"label":"happy","confidence":0.71,"probs":{"neutral":0.29,"happy":0.71},"speech":0.93,'
        '"rms_dbfs":-27.4,"peak_dbfs":-12.1,"latency_ms":43.0,"dropped_samples":0,"warming":false}',
    ),
    "window of silence": (
        Window(
            stream="desk", seq=0, time=TIME, start_s=0.0, end_s=0.24, label=None, confidence=None, probs=None,
            speech=0.0, rms_dbfs=-120.0, peak_dbfs=-120.0, latency_ms=None, dropped_samples=480, warming=True,
        ),
        '{"schema":1,"type":"window","stream":"desk","seq":0,"time":"2026-11-22T16:30:05.120Z","start_s":0.0,'
        '"end_s":0.24,"label":null,"confidence":null,"probs":null,"speech":0.0,"rms_dbfs":-120.0,"peak_dbfs":-120.0,'
        '"latency_ms":null,"dropped_samples":480,"warming":true}',
    ),
    "state": (
        State(stream="desk", time=TIME, label="happy", confidence=0.66, since=TIME - 5.12),
        '{"schema":1,"type":"state","stream":"desk","time":"2026-11-22T16:30:05.120Z","label":"happy",'
        '"confidence":0.66,"since":"2026-11-22T16:30:00.000Z","leaning":null,"leaning_confidence":null}',
    ),
    "emotion_started": (
        EmotionStarted(
            stream="desk", id="k3f9-000127", time=TIME, label="angry", previous="neutral", confidence=0.81,
            start_s=4708.0,
        ),
        '{"schema":1,"type":"transition","stream":"desk","event_type":"emotion_started","id":"k3f9-000127",'
        '"time":"2026-11-22T16:30:05.120Z","label":"angry","previous":"neutral","confidence":0.81,"start_s":4708.0}',
    ),
    "emotion_ended": (
        EmotionEnded(
            stream="desk", id="k3f9-000127", time=TIME, label="angry", duration_s=6.0, peak_confidence=0.93
        ),
        '{"schema":1,"type":"transition","stream":"desk","event_type":"emotion_ended","id":"k3f9-000127",'
        '"time":"2026-11-22T16:30:05.120Z","label":"angry","duration_s":6.0,"peak_confidence":0.93,"reason":null}',
    ),
    "health": (
        Health(
            stream="desk", time=TIME, status="live", device="Yeti", effective_rate_hz=47996.2, real_time_factor=0.18,
            latency_p50_ms=43.0, latency_p95_ms=61.0, ring_fill=0.04, overflow_events=0, dropped_samples=0,
            skipped_windows=0, compute_s=12.3, rms_dbfs=-41.2, peak_dbfs=-12.1, noise_dbfs=-63.0,
            gap_s=7.25, rested_s=86.4,
        ),
        '{"schema":1,"type":"health","stream":"desk","time":"2026-11-22T16:30:05.120Z","status":"live",'
        '"device":"Yeti","effective_rate_hz":47996.2,"real_time_factor":0.18,"latency_p50_ms":43.0,'
        '"latency_p95_ms":61.0,"ring_fill":0.04,"overflow_events":0,"dropped_samples":0,"skipped_windows":0,'
        '"compute_s":12.3,"rms_dbfs":-41.2,"peak_dbfs":-12.1,"noise_dbfs":-63.0,"gap_s":7.25,"rested_s":86.4}',
    ),
    "info": (
        Info(
            version="0.1.0", model="bundled", model_sha256="ab12", labels=("neutral",), sample_rate_hz=24000,
            window_s=3.0, hop_s=0.24, streams=("desk", "door"), calibrated=("desk",),
            threshold=0.4, enter=0.4, exit=0.3, torch_device="cpu", started=TIME, window_every=1, heartbeat_s=10.0,
            health_s=30.0, clips=True, rest=True,
        ),
        '{"schema":1,"type":"info","version":"0.1.0","model":"bundled","model_sha256":"ab12","labels":["neutral"],'
        '"sample_rate_hz":24000,"window_s":3.0,"hop_s":0.24,"streams":["desk","door"],"calibrated":["desk"],'
        '"threshold":0.4,"enter":0.4,"exit":0.3,"torch_device":"cpu","started":"2026-11-22T16:30:05.120Z",'
        '"window_every":1,"heartbeat_s":10.0,"health_s":30.0,"clips":true,"rest":true}',
    ),
}  # fmt: skip

every_kind = pytest.mark.parametrize("kind", CONTRACT)


def message(kind: str, **changes: Any) -> str:
    """The contract's message of `kind` with some fields changed."""
    return json.dumps(json.loads(CONTRACT[kind][1]) | changes)


@every_kind
def test_the_wire_format_is_frozen(kind: str) -> None:
    event, wire = CONTRACT[kind]
    assert to_json(event) == wire


@every_kind
def test_the_frozen_message_reads_back_as_the_event(kind: str) -> None:
    event, wire = CONTRACT[kind]
    assert from_json(wire) == event
    assert from_json(wire.encode()) == event


labels = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)
# To the millisecond, as on the wire.
times = st.integers(0, 4_102_444_800_000).map(lambda ms: ms / 1000)
shares = st.integers(0, 10_000).map(lambda n: n / 10_000)
figures = st.integers(0, 10**6).map(lambda n: n / 10)
levels = st.integers(-1200, 60).map(lambda n: n / 10)
seconds = st.floats(0, 1e7)
durations = st.integers(0, 10**8).map(lambda ms: ms / 1000)
counts = st.integers(0, 2**53)
streams = st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True)
_BY_NAME = {
    "stream": streams, "time": times, "since": times, "label": labels, "previous": labels, "id": labels,
    "confidence": shares, "peak_confidence": shares, "speech": shares, "ring_fill": shares, "real_time_factor": shares,
    "rms_dbfs": levels, "peak_dbfs": levels, "latency_ms": figures, "latency_p50_ms": figures,
    "latency_p95_ms": figures, "effective_rate_hz": figures,
    "start_s": seconds, "end_s": seconds, "window_s": seconds, "hop_s": seconds,
    "duration_s": durations, "gap_s": durations, "rested_s": durations, "compute_s": durations,
    "probs": st.dictionaries(labels, shares),
    "status": st.sampled_from(STATUSES), "device": labels, "warming": st.booleans(), "version": labels, "model": labels,
    "model_sha256": labels, "labels": st.lists(labels).map(tuple), "streams": st.lists(streams).map(tuple),
    "calibrated": st.lists(streams).map(tuple), "leaning": labels, "leaning_confidence": shares,
    "threshold": shares, "enter": shares, "exit": shares,
    "torch_device": labels, "started": times, "heartbeat_s": seconds, "health_s": seconds, "reason": labels,
    "noise_dbfs": levels, "clips": st.booleans(), "rest": st.booleans(),
}  # fmt: skip


def _any(cls: type[Event]) -> st.SearchStrategy[Event]:
    def values(name: str, declared: Any) -> st.SearchStrategy[Any]:
        given_name = _BY_NAME.get(name, counts)
        return st.none() | given_name if NoneType in get_args(declared) else given_name

    return st.builds(cls, **{f.name: values(f.name, f.type) for f in fields(cls)})


@settings(deadline=None)
@given(st.one_of([_any(cls) for cls in (Window, State, EmotionStarted, EmotionEnded, Health, Info)]))
def test_every_event_survives_the_round_trip(event: Event) -> None:
    assert from_json(to_json(event)) == event


@settings(deadline=None)
@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_a_time_is_rounded_to_the_millisecond_in_any_year(milliseconds: int) -> None:
    text = iso_time(milliseconds / 1000)
    assert len(text) == len("2026-11-22T16:30:05.120Z")
    assert text[-4:-1] == f"{milliseconds % 1000:03}"


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, 1e300, 1e12])
def test_what_is_no_time_is_the_senders_value_error(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"not a time|NaN"):
        iso_time(seconds)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["confidence", "rms_dbfs", "start_s", "probs"])
def test_nan_never_leaves_the_program(field: str, bad: float) -> None:
    body = {f.name: getattr(CONTRACT["window"][0], f.name) for f in fields(Window)}
    with pytest.raises(ValueError, match="JSON"):
        to_json(Window(**body | {field: {"happy": bad} if field == "probs" else bad}))


def test_numpy_scalars_leave_as_plain_numbers() -> None:
    body = {f.name: getattr(CONTRACT["window"][0], f.name) for f in fields(Window)}
    odd = {"confidence": np.float32(0.71), "seq": np.int64(4711), "probs": {"neutral": np.float32(0.29), "happy": 0.71}}
    assert to_json(Window(**body | odd)) == CONTRACT["window"][1]


def test_numbers_have_few_decimals_and_no_negative_zero() -> None:
    state = State("desk", TIME, "happy", 0.123456, TIME)
    assert to_dict(state)["confidence"] == 0.1235
    unsure = State("desk", TIME, None, None, TIME, "sad", 0.32583306508610255)
    assert to_dict(unsure)["leaning_confidence"] == 0.3258
    assert '"confidence":0.0,' in to_json(State("desk", TIME, "happy", -0.00001, TIME))


def test_fields_of_a_newer_sender_are_ignored() -> None:
    assert from_json(message("window", valence=0.4, event_type="later")) == CONTRACT["window"][0]


@every_kind
def test_a_message_of_an_older_sender_is_read(kind: str) -> None:
    event, wire = CONTRACT[kind][0], json.loads(CONTRACT[kind][1])
    newer = {f.name: f.default for f in fields(event) if f.default is not MISSING}
    read = from_json(json.dumps({name: value for name, value in wire.items() if name not in newer}))
    assert read == replace(event, **newer)


@every_kind
def test_a_missing_field_is_named(kind: str) -> None:
    wire = json.loads(CONTRACT[kind][1])
    optional = {f.name for f in fields(type(CONTRACT[kind][0])) if f.default is not MISSING}
    for name in wire.keys() - {"schema", "type", "event_type"} - optional:
        with pytest.raises(MalformedEventError, match=f"lacks the field '{name}'"):
            from_json(json.dumps({k: v for k, v in wire.items() if k != name}))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("window", {"schema": 2}),
        ("window", {"schema": True}),
        ("window", {"schema": 1.0}),
        ("window", {"schema": [[1]]}),
        ("window", {"type": "wind"}),
        ("window", {"type": ["window"]}),
        ("window", {"type": None}),
        ("emotion_started", {"event_type": None}),
        ("emotion_started", {"event_type": "emotion_paused"}),
        ("emotion_started", {"event_type": ["emotion_started"]}),
        ("window", {"seq": "4711"}),
        ("window", {"seq": 4711.0}),
        ("window", {"seq": True}),
        ("window", {"warming": 0}),
        ("window", {"start_s": None}),
        ("window", {"start_s": True}),
        ("window", {"start_s": 10**400}),
        ("window", {"speech": "0.9"}),
        ("window", {"label": 3}),
        ("window", {"probs": [0.1]}),
        ("window", {"probs": {"happy": None}}),
        ("window", {"probs": {"happy": math.nan}}),
        ("window", {"rms_dbfs": math.inf}),
        ("window", {"time": 1795365005.12}),
        ("window", {"time": "yesterday"}),
        ("window", {"time": "2026-11-22T16:30:05.120"}),
        ("window", {"time": "2026-11-22"}),
        ("state", {"since": None}),
        ("health", {"status": "fine"}),
        ("health", {"status": ["live"]}),
        ("info", {"labels": "neutral"}),
        ("info", {"labels": [1]}),
    ],
)
def test_a_malformed_message_is_refused_with_one_sentence(kind: str, changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedEventError) as refused:
        from_json(message(kind, **changes))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    "text",
    [
        "",
        "online",
        "[]",
        "1",
        "null",
        b"\xff\xfe\x00",
        b"\xc3\x28",
        "{" * 5000,
        "[" * 100_000,
        "1" * 5000,
        '{"schema":1}',
    ],
)
def test_what_is_no_event_is_refused(text: str | bytes) -> None:
    with pytest.raises(MalformedEventError):
        from_json(text)


@pytest.mark.parametrize("field", ["schema", "type", "stream", "probs", "label", "time"])
@pytest.mark.parametrize("depth", [50, 900, 940, 960, 980, 990, 5000])
def test_deep_nesting_is_refused_whatever_field_it_hides_in(field: str, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    wire = json.loads(CONTRACT["window"][1]) | {field: "HERE"}
    with pytest.raises(MalformedEventError):
        from_json(json.dumps(wire).replace('"HERE"', nested))


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_json_is_an_event_or_refused(value: Any) -> None:
    with pytest.raises(MalformedEventError):
        from_json(json.dumps(value))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedEventError):
        from_json(data)


@pytest.mark.parametrize("control", ["\x1b[2J", "\x07", "\n", "\x9b", "\ud800", "\u202e"])
def test_text_from_the_wire_cannot_steer_a_terminal(control: str) -> None:
    health = from_json(message("health", device=f"a{control}b"))
    assert isinstance(health, Health)
    assert health.device.isprintable()
    assert health.device.startswith("a ")
    health.device.encode()
