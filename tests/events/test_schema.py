"""The shipped JSON Schema: it is the code's, and it accepts what the program sends."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import streamer.events
from streamer.events.schema import SCHEMA_FILE, as_text, event_schema
from tests.test_events import CONTRACT, every_kind, message

SHIPPED: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SHIPPED)


def test_the_shipped_schema_is_the_one_of_the_code() -> None:
    """Renew it with: python -m streamer.events.schema > streamer/events/event.schema.json."""
    assert SCHEMA_FILE.read_text(encoding="utf-8") == as_text(event_schema())


def test_the_schema_is_valid_and_lies_in_the_package() -> None:
    Draft202012Validator.check_schema(SHIPPED)
    assert SCHEMA_FILE.parent == Path(streamer.events.__file__).parent


@every_kind
def test_every_message_of_the_contract_is_one_event_of_the_schema(kind: str) -> None:
    assert list(VALIDATOR.iter_errors(json.loads(CONTRACT[kind][1]))) == []
    assert VALIDATOR.is_valid(json.loads(message(kind, later=1)))  # fields are only ever added


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("window", {"schema": 2}),
        ("window", {"type": "state"}),
        ("window", {"seq": -1}),
        ("window", {"confidence": 1.5}),
        ("window", {"warming": 1}),
        ("health", {"status": "fine"}),
        ("info", {"labels": "neutral"}),
        ("emotion_ended", {"event_type": "emotion_started"}),
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(kind: str, changes: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(json.loads(message(kind, **changes)))
