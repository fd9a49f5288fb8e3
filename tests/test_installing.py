"""The printed way of installing a package is the one that works in the environment and the folder at hand."""

import ast
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from streamer import installing

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment that is made up, with nothing in it, beside the working folder."""
    prefix = tmp_path / "environments" / "streamer-emotion"
    (prefix / "bin").mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "executable", str(prefix / "bin" / "python"))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(prefix / "bin"))
    monkeypatch.setattr(installing, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    return prefix


def make_pip(folder: Path) -> None:
    (folder / "pip").write_text("#!/bin/sh\n")
    (folder / "pip").chmod(0o755)


def test_an_environment_below_the_working_folder_is_named_as_the_readme_does(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pip(prefix / "bin")
    monkeypatch.chdir(prefix.parent)
    assert installing.pip_install() == "streamer-emotion/bin/pip install"


def test_one_elsewhere_is_named_by_its_whole_path(prefix: Path) -> None:
    make_pip(prefix / "bin")
    assert installing.pip_install() == f"{prefix}/bin/pip install"


def test_the_shells_own_pip_is_named_where_it_is_the_environments(
    prefix: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_pip(prefix / "bin")
    make_pip(tmp_path)  # somebody else's comes first
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{prefix / 'bin'}")
    assert installing.pip_install() == f"{prefix}/bin/pip install"
    monkeypatch.setenv("PATH", f"{prefix / 'bin'}{os.pathsep}{tmp_path}")
    assert installing.pip_install() == "pip install"


def test_a_python_whose_pip_has_no_command_of_its_own_runs_the_module(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installing, "find_spec", lambda name: object())
    assert installing.pip_install() == f"{prefix}/bin/python -m pip install"


def test_an_environment_without_pip_is_served_by_uv(prefix: Path) -> None:
    assert installing.pip_install() == f"uv pip install --python {prefix}/bin/python"


def test_an_environment_of_pipx_is_served_by_pipx(prefix: Path) -> None:
    make_pip(prefix / "bin")
    (prefix / "pipx_metadata.json").write_text("{}")
    assert installing.pip_install() == "pipx runpip streamer-emotion install"


def test_a_tool_of_uvs_is_known_by_its_receipt(prefix: Path) -> None:
    assert installing.uv_tool_receipt() is None
    (prefix / "uv-receipt.toml").write_text("")
    assert installing.uv_tool_receipt() == prefix / "uv-receipt.toml"


@pytest.mark.timeout(60)
def test_what_is_printed_in_a_real_environment_runs_there(tmp_path: Path) -> None:
    """`.venv/bin/pip` exists, is this environment's, and is found from the folder that it is printed for."""
    venv.create(tmp_path / "my envs" / ".venv", with_pip=True)
    for folder in (tmp_path / "my envs", tmp_path):
        done = subprocess.run(
            [tmp_path / "my envs" / ".venv" / "bin" / "python", "-c",
             "from streamer.installing import pip_install; print(pip_install())"],
            cwd=folder, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        command = done.stdout.strip()
        where = command.removesuffix(" install")
        assert command != where
        shown = subprocess.run(["sh", "-c", f"{where} --version"], cwd=folder, capture_output=True, text=True)
        assert f"{tmp_path}/my envs/.venv/" in shown.stdout, (command, shown)
    assert command.startswith("'")


def test_no_sentence_of_the_program_names_a_pip_of_its_own_making() -> None:
    """Only the two modules that know the environment, and the container file, whose pip is the image's, write it."""
    allowed = {"installing.py", "service_container.py"}
    wrong = []
    for file in (CHECKOUT / "streamer").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        prose = {id(node.body[0].value) for node in ast.walk(tree) if _has_docstring(node)}
        wrong += [
            f"{file.relative_to(CHECKOUT)}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
            if "pip install" in node.value and file.name not in allowed
        ]
    assert wrong == []


def _has_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and bool(node.body)
        and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant)
    )
