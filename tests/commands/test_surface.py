"""The command line's surface is a contract: commands, options, defaults and choices, frozen in `surface.json`.

An option that is added, removed or given another default fails here until the file says the same:
`python -m tests.commands.test_surface > tests/commands/surface.json` writes it anew.
"""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import typer
from typer.models import ArgumentInfo, OptionInfo

from streamer.cli import app

FROZEN = Path(__file__).with_name("surface.json")


def surface_of(app: typer.Typer) -> dict[str, dict[str, dict[str, Any]]]:
    """Return every command's parameters by what is typed, read from the signatures and not from typer's internals."""
    return {name: parameters_of(callback) for name, callback in sorted(callbacks_of(app).items())}


def callbacks_of(app: typer.Typer, before: str = "") -> dict[str, Callable[..., Any] | None]:
    """Return every command's function by its name, `fleet run` for one of a group."""
    found = {before + (info.name or name_of(info.callback)): info.callback for info in app.registered_commands}
    for group in app.registered_groups:
        assert group.typer_instance is not None
        found |= callbacks_of(group.typer_instance, f"{before}{group.typer_instance.info.name} ")
    return found


def name_of(callback: Callable[..., Any] | None) -> str:
    assert callback is not None
    return callback.__name__.replace("_", "-")


def parameters_of(callback: Callable[..., Any] | None) -> dict[str, dict[str, Any]]:
    assert callback is not None
    found = {}
    for parameter in inspect.signature(callback, eval_str=True).parameters.values():
        kind, info = get_args(parameter.annotation)  # Annotated[kind, info]
        facts: dict[str, Any] = {}
        if parameter.default is inspect.Parameter.empty:
            facts["required"] = True
        else:
            facts["default"] = plain(parameter.default)
        if get_origin(kind) is Literal:
            facts["choices"] = list(get_args(kind))
        elif hasattr(kind, "__members__"):
            facts["choices"] = [plain(member) for member in kind]
        if "list[" in str(kind):
            facts["several"] = True
        found[typed(parameter.name, kind, info)] = facts
    return found


def typed(name: str, kind: object, info: OptionInfo | ArgumentInfo) -> str:
    """Return what is typed for a parameter, `--log-file`, or its name in capitals for an argument."""
    if isinstance(info, ArgumentInfo):
        return name.upper()
    if info.param_decls:
        return " ".join(info.param_decls)
    dashed = name.replace("_", "-")
    return f"--{dashed}/--no-{dashed}" if kind is bool else f"--{dashed}"


def plain(value: object) -> Any:
    if isinstance(value, Path):
        return str(value)
    return value.value if hasattr(value, "value") else value


def test_commands_options_defaults_and_choices_are_those_that_were_frozen() -> None:
    assert surface_of(app) == json.loads(FROZEN.read_text())


def test_the_defaults_that_commands_repeat_are_those_of_the_library() -> None:
    from streamer.evaluation.options import EvaluationOptions
    from streamer.training.recipe import Recipe

    surface = surface_of(app)
    recipe, options = Recipe(), EvaluationOptions()
    for name in (
        "start",
        "tune",
        "epochs",
        "patience",
        "minutes",
        "versions",
        "batch_size",
        "window_s",
        "learning_rate",
    ):
        assert surface["train"]["--" + name.replace("_", "-")]["default"] == getattr(recipe, name), name
    for name in ("protocol", "folds", "streams", "live_clips", "robustness_clips", "noise_minutes"):
        assert surface["evaluate"]["--" + name.replace("_", "-")]["default"] == getattr(options, name), name


@pytest.mark.parametrize("command", json.loads(FROZEN.read_text() or "{}") if FROZEN.exists() else [])
def test_every_option_has_a_help_text(command: str) -> None:
    callback = callbacks_of(app)[command]
    assert callback is not None
    for parameter in inspect.signature(callback, eval_str=True).parameters.values():
        _, info = get_args(parameter.annotation)
        assert info.help, parameter.name


if __name__ == "__main__":
    print(json.dumps(surface_of(app), indent=1, sort_keys=True))
