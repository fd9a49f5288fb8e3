"""Say what is wrong in config.toml, a variable or a flag: a sentence for each mistake, with the cure.

pydantic names every mistake at once, but in its own words; here they become the user's. Nothing in this module knows
which settings there are: it reads that from the models it is given.
"""

import difflib
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from streamer.plain_text import plain, without_credentials

Location = tuple[str | int, ...]  # ("stream", 0, "name")
Layers = Sequence[tuple[str, Mapping[str, Any]]]  # where settings come from, by name, the weakest first

_UNKNOWN = "extra_forbidden"  # pydantic's word for a key that its model lacks
_PYDANTIC_BRANCHES = ("int", "float", "str", "bool")  # of a union, in pydantic's locations; of no key


@dataclass(frozen=True, slots=True)
class Complaint:
    """One mistake."""

    location: Location  # of the key; empty for the settings as a whole
    text: str  # a sentence: where it was set, key, value, what is allowed


def complaints(error: ValidationError, layers: Layers, model: type[BaseModel]) -> list[Complaint]:
    """Return a complaint for every wrong key of pydantic's `error`, in its order.

    Args:
        error: what validating the merged `layers` raised.
        layers: say where each value was set.
        model: the settings; tells which keys there are.
    """
    found: dict[Location, list[Any]] = {}
    for detail in error.errors():
        found.setdefault(_key_location(detail["loc"], detail["type"] == _UNKNOWN), []).append(detail)
    return [Complaint(location, _sentence(location, details, layers, model)) for location, details in found.items()]


def quoted_numbers(name: str, layer: Mapping[str, Any], model: type[BaseModel]) -> list[Complaint]:
    """Return a complaint for every value of the file `name` that is quoted, and is a number or a switch.

    pydantic would accept `threads = "4"`, which variables need, and refuse `threads = "four"` in other words.
    """
    return [
        Complaint(location, f"{name}: {dotted(location)} = {shown(value)} is in quotes; write {location[-1]} = {bare}.")
        for location, value, field in _leaves(layer, model)
        if isinstance(value, str) and str not in leaf_types(field.annotation) and (bare := _unquoted(value, field))
    ]


def leaf_types(annotation: Any) -> set[Any]:
    """Return the plain types and literal values that `annotation` accepts, through unions and Annotated."""
    origin = get_origin(annotation)
    if origin is Literal:
        return set(get_args(annotation))
    if origin in (Union, types.UnionType):
        return set().union(*(leaf_types(part) for part in get_args(annotation)))
    if origin is not None and hasattr(annotation, "__metadata__"):
        return leaf_types(get_args(annotation)[0])
    return {annotation}


def shown(value: Any) -> str:
    """Return `value` as it may be shown: without credentials, switches as TOML writes them, not endless."""
    if isinstance(value, bool):
        return str(value).lower()
    return plain(without_credentials(repr(value)[:4_000]), 200)


def dotted(location: Iterable[str | int]) -> str:
    """Return `window.hop_s` for ("window", "hop_s")."""
    return ".".join(map(str, location))


def table_model(location: Sequence[str | int], model: type[BaseModel]) -> type[BaseModel] | None:
    """Return the model of the table at `location`; None where that is no table."""
    for part in location:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = [t for t in (field.annotation, *get_args(field.annotation)) if isinstance(t, type)] if field else []
        tables = [t for t in inner if issubclass(t, BaseModel)]
        if not tables:
            return None
        model = tables[0]
    return model


def _key_location(location: Sequence[str | int], is_unknown: bool) -> Location:
    """Return pydantic's location without the names of a union's branches ("constrained-int").

    An unknown key, the last part, may have any name, even that of a branch.
    """
    known, unknown = (location[:-1], location[-1:]) if is_unknown else (location, ())
    keys = [p for p in known if isinstance(p, int) or re.fullmatch(r"[A-Za-z0-9_]+", p)]
    return (*(part for part in keys if part not in _PYDANTIC_BRANCHES), *unknown)


def _sentence(location: Location, details: list[Any], layers: Layers, model: type[BaseModel]) -> str:
    origin, first = _origin(location, layers), details[0]
    key = plain(without_credentials(dotted(location)), 200) if location else "[[stream]]"
    if first["type"] == _UNKNOWN:
        what = "table" if len(location) == 1 else "key"
        return f"{origin}: {key}: no such {what}; {_cure_of_unknown(location, model)}."
    if first["type"] == "missing":
        return f"{origin}: {key}: this key is missing."
    if first["type"] in ("model_type", "model_attributes_type", "tuple_type"):
        return f"{origin}: {key}: {_table_wanted(location, first['type'])}."
    hidden = isinstance(first["input"], Mapping | BaseModel) or "password" in key
    value = "" if hidden else f" = {shown(first['input'])}"
    return f"{origin}: {key}{value} is not allowed: {_meant(details)}{_what_is_allowed(details)}."


def _origin(location: Location, layers: Layers) -> str:
    """Return the layer that the key at `location` came from, topmost first; a variable by its own name."""
    for name, layer in reversed(layers):
        node: Any = layer
        for part in location:
            inside = (isinstance(node, Mapping) and part in node) or isinstance(node, list | tuple)
            node = node[part] if inside else None
        if location and node is not None:
            return name.replace("{key}", "__".join(map(str, location)).upper())
    return layers[0][0]


def _cure_of_unknown(location: Location, model: type[BaseModel]) -> str:
    """Say which key was meant, in which table it belongs, or which keys there are."""
    wrong, inside = str(location[-1]), table_model(location[:-1], model)
    names = list(inside.model_fields) if inside else []
    homes = [table for table in model.model_fields if table != location[0] and _holds(table, wrong, model)]
    if homes:
        return f"it belongs into {' or '.join(f'[{table}]' for table in homes)}"
    near = difflib.get_close_matches(wrong.lower(), names, n=1, cutoff=0.5)
    if not near:  # "hop" for "hop_s", "broker_url" for "url"
        near = [name for name in names if min(len(name), len(wrong)) > 2 and (name in wrong or wrong in name)][:1]
    cure = f"did you mean {near[0]}? Allowed here are" if near else "allowed here are"
    return f"{cure} {', '.join(names)}"


def _holds(table: str, key: str, model: type[BaseModel]) -> bool:
    inside = table_model((table,), model)
    return inside is not None and key in inside.model_fields


def _table_wanted(location: Location, kind: str) -> str:
    name = next((str(part) for part in reversed(location) if isinstance(part, str)), "")
    if kind == "tuple_type" or any(isinstance(part, int) for part in location):
        return f"there may be several, so each begins with two brackets: [[{name}]]"
    return f"this is a table; write [{name}] on a line of its own, and its keys below"


def _what_is_allowed(details: list[Any]) -> str:
    """Return what is allowed instead: the model's own words where it has some."""
    own = [
        str(d["msg"]).removeprefix("Value error, ") for d in details if d["type"] in ("value_error", "assertion_error")
    ]
    return own[0] if own else f"it must be {', or '.join(dict.fromkeys(_allowed(detail) for detail in details))}"


def _allowed(detail: Any) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    bounds = {
        "greater_than": ("gt", "more than"),
        "greater_than_equal": ("ge", "at least"),
        "less_than": ("lt", "less than"),
        "less_than_equal": ("le", "at most"),
    }
    if kind in bounds:
        name, words = bounds[kind]
        return f"{words} {context[name]:.6g}"
    if kind == "literal_error":
        return re.sub(r"'(\w+)'", r'"\1"', context["expected"])
    wanted = {
        "int": "a whole number, without quotes",
        "float": "a number, without quotes",
        "bool": "true or false, without quotes",
        "string": "text in quotes",
        "finite": "a number that is not infinite",
    }
    return wanted.get(kind.split("_")[0]) or str(detail["msg"])


def _meant(details: list[Any]) -> str:
    """Return `did you mean "mix"? ` where the text is close to an allowed one."""
    words = [w for d in details if d["type"] == "literal_error" for w in re.findall(r"'(\w+)'", d["ctx"]["expected"])]
    near = difflib.get_close_matches(str(details[0]["input"]).lower(), words, n=1)
    return f'did you mean "{near[0]}"? Else, ' if near else ""


def _leaves(layer: Mapping[str, Any], model: type[BaseModel]) -> Iterable[tuple[Location, Any, Any]]:
    """Yield location, value and field of every known key of the tables in `layer`."""
    for table, content in layer.items():
        inside = table_model((table,), model) if table in model.model_fields else None
        many = content if isinstance(content, list) else [content]
        for index, one in enumerate(many):
            if inside is None or not isinstance(one, Mapping):
                continue
            for key, value in one.items():
                if key in inside.model_fields:
                    place: Location = (table, index, key) if isinstance(content, list) else (table, key)
                    yield place, value, inside.model_fields[key]


def _unquoted(text: str, field: Any) -> str:
    """Return `text` as it is written without quotes; empty where it is no number or switch that `field` takes."""
    kinds, bare = leaf_types(field.annotation), text.strip()
    if bare in kinds:
        return ""
    if bool in kinds and bare.lower() in ("true", "false"):
        return bare.lower()
    if kinds & {int, float} and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", bare.lower()):
        return bare
    return ""
