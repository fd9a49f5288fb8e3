"""Generate the JSON Schema of the events from their classes, for programs that receive them.

`event.schema.json` beside this module is what ships; `python -m streamer.events.schema` prints it anew.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from streamer.events.values import EVENT_CLASSES, SCHEMA, Event

SCHEMA_FILE = Path(__file__).with_name("event.schema.json")


def event_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of one message: exactly one of the events, unknown fields allowed."""
    _, schema = TypeAdapter.json_schemas([(cls.__name__, "validation", TypeAdapter(cls)) for cls in EVENT_CLASSES])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event of streamer",
        "description": "Fields are only ever added. Probabilities are 0 to 1, times UTC, positions seconds of audio.",
        "oneOf": [{"$ref": f"#/$defs/{cls.__name__}"} for cls in EVENT_CLASSES],
        "$defs": {cls.__name__: _with_head(cls, schema["$defs"][cls.__name__]) for cls in EVENT_CLASSES},
    }


def _with_head(cls: type[Event], body: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a class with the constants that stand before its fields on the wire."""
    head: dict[str, Any] = {"schema": {"const": SCHEMA, "type": "integer"}, "type": {"const": cls.type}}
    if event_type := getattr(cls, "event_type", None):
        head["event_type"] = {"const": event_type}
    fields = {name: _untitled(field) for name, field in body["properties"].items()}
    return {
        "description": cls.__doc__,
        "type": "object",
        "properties": head | fields,
        "required": [*head, *body["required"]],
    }


def _untitled(field: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in field.items() if key != "title"}  # pydantic repeats the name there


def as_text(schema: dict[str, Any]) -> str:
    """Return the text of the shipped file."""
    return json.dumps(schema, indent=1) + "\n"


if __name__ == "__main__":
    print(as_text(event_schema()), end="")
