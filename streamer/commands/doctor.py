"""`streamer doctor`: try what `streamer run` will do, and say how to fix what does not work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from streamer.commands.options import ConfigFile, Json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from streamer.commands.checks.finding import Finding, Verdict
    from streamer.config import Loaded

_SIGNS: dict[Verdict, tuple[str, str]] = {"ok": ("✓", "green"), "note": ("•", "yellow"), "bad": ("✗", "red")}


def doctor(config: ConfigFile = None, as_json: Json = False) -> None:
    """Try microphone, model, GPU and broker; say how to fix each.

    Opens every source and listens for two seconds, times the model, logs in to the broker, and writes where things are
    written. Nothing that was heard is kept. Exit code 1 if anything fails.

    \b
    Examples:
      streamer doctor
      streamer doctor --config my.toml --json
    """
    raise typer.Exit(run_doctor(config, as_json=as_json))


def run_doctor(config: Path | None, *, as_json: bool = False) -> int:
    """Print one line per check, or JSON; return exit code 0 if all passed, else 1."""
    import json
    import platform
    from dataclasses import asdict

    from rich.text import Text

    from streamer import __version__
    from streamer.commands.screen import Screen
    from streamer.config import load_with_problems
    from streamer.plain_text import sentence

    console = Screen()
    about = f"streamer {__version__} on Python {platform.python_version()}, {platform.platform()}"
    if not as_json:
        console.print(about)
    found = []
    for finding in examine(load_with_problems(config)):
        found.append(finding)
        if not as_json:
            line = Text.assemble(
                " ", _SIGNS[finding.verdict], " ", (finding.check, "bold"), f": {sentence(finding.text)}"
            )
            console.print(line, soft_wrap=True)
    failed = sum(finding.verdict == "bad" for finding in found)
    if as_json:
        print(json.dumps({"ok": not failed, "about": about, "checks": [asdict(one) for one in found]}, indent=2))
    else:
        console.print(_verdict(found))
    return min(failed, 1)


def _verdict(found: Sequence[Finding]) -> str:
    failed = [finding.check for finding in found if finding.verdict == "bad"]
    if not failed:
        return "All checks passed."
    if set(failed) == {"microphone"}:
        return "1 check failed; `streamer run demo` works without a microphone."
    return (
        f"{len(failed)} checks failed; each line says what helps."
        if failed[1:]
        else "1 check failed; its line says what helps."
    )


def examine(loaded: Loaded) -> Iterator[Finding]:
    """Yield every finding as soon as it is known; what is wrong in the settings hides none of the others."""
    from functools import partial

    from streamer.commands.checks.broker import check_broker
    from streamer.commands.checks.finding import guarded
    from streamer.commands.checks.machine import check_extras, check_folders, check_portaudio, check_terminal
    from streamer.commands.checks.model import check_model
    from streamer.commands.checks.served import check_actions, check_metrics, check_web
    from streamer.commands.checks.sources import check_sources

    settings = loaded.settings
    yield from _settings(loaded)
    checks: dict[str, Callable[[], Iterable[Finding]]] = {
        "portaudio": partial(check_portaudio, settings),
        "sources": partial(check_sources, settings),
        "model": partial(check_model, settings),
        "broker": partial(check_broker, settings),
        "metrics": partial(check_metrics, settings),
        "web": partial(check_web, settings),
        "action": partial(check_actions, settings),
        "folders": partial(check_folders, settings),
        "terminal": partial(check_terminal, settings),
        "extras": check_extras,
    }
    for name, check in checks.items():
        yield from guarded(name, check)


def _settings(loaded: Loaded) -> Iterator[Finding]:
    """Yield every mistake in the settings, or where they come from."""
    from streamer.commands.checks.finding import Finding
    from streamer.config import usual_places

    for problem in loaded.problems:
        yield Finding("settings", "bad", problem)
    if loaded.problems:
        yield Finding("settings", "note", "what is wrong counts as the default in the checks below.")
        return
    places = " or ".join(map(str, usual_places()))
    where = str(loaded.file) if loaded.file else f"built-in defaults; a settings file can be placed at {places}"
    yield Finding("settings", "ok", where)
