"""Bounds inside which a message is read: what lies beyond is malformed, and what passes can be shown."""

import json
import random
from dataclasses import fields
from datetime import datetime
from typing import Any

import pytest

from streamer.events import MAX_BYTES, Event, Health, MalformedEventError, Window, from_json
from streamer.events.fields import MAX_LABELS
from tests.test_events import CONTRACT, every_kind, message

HUGE = 10**400


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("window", {"time": "0001-01-01T00:00:00+14:00"}),
        ("window", {"time": "9999-12-31T23:59:59-14:00"}),
        ("window", {"time": "9999-12-31T23:59:59Z"}),
        ("window", {"time": "1969-12-31T23:59:59Z"}),
        ("window", {"time": "2201-01-01T00:00:00Z"}),
        ("state", {"since": "0001-01-01T00:00:00Z"}),
        ("window", {"seq": HUGE}),
        ("window", {"seq": -1}),
        ("window", {"dropped_samples": HUGE}),
        ("window", {"dropped_samples": 2**53 + 1}),
        ("window", {"start_s": 1e308}),
        ("window", {"rms_dbfs": -1e308}),
        ("window", {"latency_ms": 1e308}),
        ("window", {"latency_ms": -1.0}),
        ("window", {"confidence": 1.5}),
        ("window", {"confidence": HUGE}),
        ("window", {"probs": {"happy": 1e308}}),
        ("window", {"probs": {f"label {n}": 0.1 for n in range(MAX_LABELS + 1)}}),
        ("window", {"probs": {"l" * 65: 0.1}}),
        ("window", {"stream": "s" * 256}),
        ("window", {"label": "l" * 65}),
        ("emotion_ended", {"duration_s": 1e308}),
        ("emotion_started", {"id": "i" * 65}),
        ("health", {"device": "d" * 4097}),
        ("health", {"overflow_events": HUGE}),
        ("health", {"effective_rate_hz": 1e308}),
        ("info", {"labels": [f"label {n}" for n in range(MAX_LABELS + 1)]}),
        ("info", {"streams": [f"s{n}" for n in range(1_001)]}),
        ("info", {"window_s": -3.0}),
    ],
)
def test_what_lies_beyond_the_bounds_is_malformed(kind: str, changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedEventError) as refused:
        from_json(message(kind, **changes))
    assert repr(next(iter(changes))) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("time", ["1970-01-01T00:00:00Z", "2200-12-31T23:59:59.999Z", "2026-11-22T16:30:05+14:00"])
def test_times_within_the_bounds_can_be_shown(time: str) -> None:
    event = from_json(message("window", time=time))
    assert isinstance(event, Window)
    assert datetime.fromtimestamp(event.time).year >= 1969  # in local time


def test_a_message_is_measured_before_it_is_parsed() -> None:
    padded = CONTRACT["window"][1] + " " * MAX_BYTES
    with pytest.raises(MalformedEventError, match="bytes"):
        from_json(padded)


@every_kind
def test_deep_and_large_values_of_unknown_fields_do_no_harm(kind: str) -> None:
    assert from_json(message(kind, later=[[{"a": [1, 1e308, "x" * 1000]}]] * 10)) == CONTRACT[kind][0]


def test_text_that_is_no_unicode_leaves_and_arrives_as_readable_text() -> None:
    event = from_json(message("health", device="caf\udce9.wav"))
    assert isinstance(event, Health)
    assert event.device == "caf .wav"


_WHOLE: list[Any] = [None, True, -1, HUGE, 1e308, -1e308, 0.5, "", "9999-12-31T23:59:59-14:00", "x" * 5000, [], {}]
_WHOLE += [[[[]]], {"a": HUGE}, "0001-01-01T00:00:00+14:00", "\ud800", "\x1b[2J", [None], 2**63, -0.0]


def _usable(event: Event) -> bool:
    """Do with every field what screens and counters do."""
    for field in fields(event):
        value = getattr(event, field.name)
        if isinstance(value, str):
            value.encode()
            assert value.isprintable()
        elif isinstance(value, int | float):
            assert abs(round(value * 1000) / 24) < 1e300
        if field.name in ("time", "since"):
            datetime.fromtimestamp(value)
    return True


def test_any_mutated_message_is_usable_or_malformed() -> None:
    """Field values out of a bag of awkward ones, cut and spliced bytes: seeded, so that a failure comes back."""
    chance = random.Random(1)
    wires = [wire for _, wire in CONTRACT.values()]
    read, longest = 0, 0
    for _ in range(3_000):
        wire = chance.choice(wires)
        if chance.random() < 0.6:
            values = json.loads(wire)
            for name in chance.sample(list(values), chance.randint(1, 3)):
                values[name] = chance.choice(_WHOLE)
            text: str | bytes = json.dumps(values)
        else:
            data = bytearray(wire.encode())
            for _ in range(chance.randint(1, 4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            text = bytes(data)
        try:
            read += _usable(from_json(text))
        except MalformedEventError as error:
            longest = max(longest, len(str(error)))
    assert read > 50  # some mutations leave a message as it may be
    assert longest < 300
