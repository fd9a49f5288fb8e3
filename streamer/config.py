"""Read config.toml, STREAMER_… variables and flags, and validate them into one frozen value.

Later wins: built-in defaults, the file, variables (`STREAMER_WINDOW__HOP_S=0.48`), flags. The file is `--config`, else
`STREAMER_CONFIG`, else `config.toml` in the working folder, else the one in the platform's configuration folder.
Everything that is wrong is said at once, a line each, which names the file (or variable, or flag), the key, the value
and what is allowed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import ValidationError

from streamer.config_errors import Complaint, Location, complaints, quoted_numbers
from streamer.errors import UsageError
from streamer.settings import Settings
from streamer.toml_errors import read_toml

PREFIX = "STREAMER_"
_VARIABLE = PREFIX + "{key}"
_NO_SETTINGS = (PREFIX + "CONFIG", PREFIX + "SOURCE_PASSWORD")  # variables that stand for no key of the file
_OF_ACTIONS = PREFIX + "EVENT_"  # variables of a command that an action runs; it may be this program


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
