"""Read the event in a JSON message that anybody may have sent.

Unknown fields of a newer sender are ignored, and an older sender may lack the newer ones. Everything else that is not
as `fields.py` has it, in type or magnitude, is a `MalformedEventError`, so that whatever passes can be shown, added and
formatted without a further look.
"""

import json
import reprlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from streamer.errors import StreamerError
from streamer.events.values import EVENT_CLASSES, SCHEMA, Event

MAX_BYTES = 64 * 1024  # of a message; an event of fifty labels has about two thousand

_Kind = tuple[str, str | None]  # type and event_type
_CLASSES: dict[_Kind, type[Event]] = {(c.type, getattr(c, "event_type", None)): c for c in EVENT_CLASSES}


class MalformedEventError(StreamerError):
    """A message is not an event of this schema."""


def from_json(text: str | bytes) -> Event:
    """Parse the event in one JSON message.

    What is not printable in its strings becomes a space.

    Raises:
        MalformedEventError: too long, not JSON, not of this schema, or a field is missing, of the wrong type or out of
        bounds.
    """
    if len(text) > MAX_BYTES:
        raise MalformedEventError(f"The message has {len(text):,} bytes, more than {MAX_BYTES:,}.")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:  # a number of more than 4,300 digits is a ValueError, too
        raise MalformedEventError(f"The message is not JSON: {error}.") from error
    if not isinstance(message, dict):
        raise MalformedEventError(f"The message is a {type(message).__name__}, not a JSON object.")
    schema = message.get("schema")
    if type(schema) is not int or schema != SCHEMA:  # True == 1, and neither it nor 1.0 is a schema number
        raise MalformedEventError(f"The message has schema {reprlib.repr(schema)}; this version reads {SCHEMA}.")
    kind = _kind_of(message)
    try:
        return _reader(kind).validate_python(message)
    except ValidationError as error:
        raise MalformedEventError(_sentence(kind[0], error)) from None


@cache
def _reader(kind: _Kind) -> TypeAdapter[Event]:
    return TypeAdapter(_CLASSES[kind])  # some 10 ms each, paid only by those who read


def _kind_of(message: Mapping[str, Any]) -> _Kind:
    kind = message.get("type")
    event_type = message.get("event_type") if kind == "transition" else None
    if isinstance(kind, str) and (event_type is None or isinstance(event_type, str)) and (kind, event_type) in _CLASSES:
        return kind, event_type
    event_type_shown = f" (event_type {reprlib.repr(event_type)})" if kind == "transition" else ""
    raise MalformedEventError(f"The message's type {reprlib.repr(kind)}{event_type_shown} is not known.")


def _sentence(kind: str, error: ValidationError) -> str:
    """Return one line for the first of pydantic's errors: which field, which value, what is allowed."""
    first = error.errors(include_url=False)[0]
    name = first["loc"][0]  # the keys and indices behind it are the sender's
    if first["type"] == "missing":
        return f"The {kind} message lacks the field {name!r}."
    allowed = first["msg"].removeprefix("Value error, ")
    shown = reprlib.repr(first["input"])  # bounded in length and depth, whatever was sent
    return f"The {kind} message's {name!r} is {shown}: {allowed[0].lower()}{allowed[1:]}."
