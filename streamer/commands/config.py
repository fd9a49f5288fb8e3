"""`streamer config`: the settings in force and where each came from, or what is wrong with a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.commands.options import ConfigFile, Json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from streamer.config import Loaded

DEFAULT = "default"


def config(
    config: ConfigFile = None,
    check: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Only say what is wrong in this file. Default: none.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the settings in force and where each came from.

    Printed as a settings file, with passwords left out. Exit code 2 if anything in them is wrong.

    \b
    Examples:
      streamer config
      streamer config --check my.toml
    """
    import json

    from streamer.commands.settings_check import problems
    from streamer.config import SettingsError, load_with_problems

    loaded = load_with_problems(check or config)
    if check is None:
        values = settings_in_force(loaded)
        print(json.dumps(values, indent=2) if as_json else "\n".join(_toml_lines(values)), flush=True)
    wrong = problems(loaded)
    if wrong:
        raise SettingsError(wrong)
    if check is not None:
        changed = sum(
            entry["from"] != DEFAULT for keys in settings_in_force(loaded).values() for entry in keys.values()
        )
        print(json.dumps({"file": str(check), "problems": []}) if as_json else f"{check}: {_verdict(changed)}")


def settings_in_force(loaded: Loaded) -> dict[str, dict[str, dict[str, Any]]]:
    """Return `{"window": {"hop_s": {"value": 0.48, "from": "my.toml"}}}`; passwords and credentials are left out.

    A [[stream]] table is called `stream.0`.
    """
    dumped = loaded.settings.model_dump(mode="json")
    tables = {name: table for name, table in dumped.items() if not isinstance(table, list)}
    for name in dumped.keys() - tables.keys():
        tables |= {f"{name}.{index}": table for index, table in enumerate(dumped[name])}
    return {
        name: {key: {"value": _safe(value), "from": _came_from(loaded, name, key)} for key, value in table.items()}
        for name, table in tables.items()
    }


def _safe(value: Any) -> Any:
    from streamer.plain_text import without_credentials

    return without_credentials(value) if isinstance(value, str) else value


def _came_from(loaded: Loaded, table: str, key: str) -> str:
    """Return the file, the variable or `default`, whichever set the key."""
    name, _, index = table.partition(".")
    for layer, tables in reversed(loaded.layers):
        content: Any = tables.get(name, {})
        if index:
            content = content[int(index)] if int(index) < len(content) else {}
        if key in content and not _refused(loaded, table, key):
            return str(layer).replace("{key}", f"{name}__{key}".upper())
    return DEFAULT


def _refused(loaded: Loaded, table: str, key: str) -> bool:
    """Return whether a wrong value of the key, or of its table, was replaced by the default."""
    return any(location in ((table,), (table, key)) for location in loaded.replaced)


def _toml_lines(values: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    for name, table in values.items():
        yield f"[{name}]" if "." not in name else f"[[{name.partition('.')[0]}]]"
        for key, entry in table.items():
            line = f"{key} = {_toml(entry['value'])}"
            yield f"{line:<40} # {entry['from']}"
        yield ""


def _toml(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)  # of numbers, switches and text TOML's notation is JSON's


def _verdict(changed: int) -> str:
    if not changed:
        return "nothing is wrong; it sets nothing that is not the default."
    return f"nothing is wrong; {changed} setting{'s' if changed > 1 else ''} stand{'' if changed > 1 else 's'} in it."
