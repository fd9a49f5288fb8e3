"""The house keeps its shape: levels, cycles, sizes of rooms and functions, sizes of files."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest

from streamer.cli import COMMANDS

CHECKOUT = Path(__file__).parents[1]
PACKAGE = CHECKOUT / "streamer"

LEVELS = 9  # the longest chain of imports between the entries directly under streamer/
ROOM_SHARE = 0.15  # the largest room's share of the package's lines
FUNCTION_LINES = 60
PARAMETERS = 7  # without self and cls
MEGABYTE = 1_000_000
LARGE_FILES = {"streamer/checkpoints/bundled.safetensors"}


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Which entry directly under streamer/ imports which; imports for type checkers alone are left out."""
    graph = grimp.build_graph("streamer", exclude_type_checking_imports=True, cache_dir=None)
    found: dict[str, set[str]] = {child: set() for child in graph.find_children("streamer")}
    for module in graph.modules - {"streamer"}:
        entry = entry_of(module)
        found[entry] |= {entry_of(other) for other in graph.find_modules_directly_imported_by(module)}
        found[entry] -= {entry, "streamer"}
    return found


def entry_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def test_entries_form_at_most_nine_levels_without_a_cycle(imports: dict[str, set[str]]) -> None:
    @cache
    def chain(entry: str) -> tuple[str, ...]:
        return (*max((chain(other) for other in imports[entry]), key=len, default=()), entry)

    left = dict(imports)
    while ready := {entry for entry, others in left.items() if not others & left.keys()}:
        left = {entry: others for entry, others in left.items() if entry not in ready}
    assert left == {}, "these import each other"
    longest = max((chain(entry) for entry in imports), key=len)
    assert len(longest) <= LEVELS, longest


def test_no_room_holds_more_than_its_share_of_the_lines() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    total = sum(lines.values())
    for room in PACKAGE.iterdir():
        if room.is_dir():
            share = sum(count for path, count in lines.items() if room in path.parents) / total
            assert share <= ROOM_SHARE, f"{room.name}: {share:.1%} of {total} lines"


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(CHECKOUT)}:{node.lineno} {node.name}", node


def is_command(where: str) -> bool:
    return any(
        where.startswith(f"streamer/commands/{c.__name__}.py:") and where.endswith(f" {c.__name__}") for c in COMMANDS
    )


def test_no_function_is_longer_than_a_screen_or_takes_many_parameters() -> None:
    """A command's signature is its command line, which the user does not mind being long; its body counts."""
    wrong = []
    for where, node in functions():
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        parameters = [one.arg for one in arguments if one.arg not in ("self", "cls")]
        command = is_command(where)
        first = node.body[0].lineno if command else node.lineno
        length = (node.end_lineno or first) - first + 1
        if length > FUNCTION_LINES or (len(parameters) > PARAMETERS and not command):
            wrong.append(f"{where}: {length} lines, {len(parameters)} parameters")
    assert wrong == []


def test_no_tracked_file_is_larger_than_a_megabyte_but_the_listed_ones() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    files = [CHECKOUT / name for name in listed.split("\0") if name]
    large = {str(path.relative_to(CHECKOUT)) for path in files if path.is_file() and path.stat().st_size > MEGABYTE}
    assert large == LARGE_FILES


def test_the_pre_commit_hooks_run_what_ci_runs_after_the_tests() -> None:
    ci = {line for line in (CHECKOUT / ".ci" / "run").read_text().splitlines() if line.startswith(".venv/bin/")}
    hooks = (CHECKOUT / ".pre-commit-config.yaml").read_text().splitlines()
    assert {line.split("entry: ")[1] for line in hooks if "entry: " in line} == ci
