"""The printed command that installs an extra is right for the way streamer was installed."""

import json
import re
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

from streamer import extras

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def with_a_pip_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "pip_install", lambda: "PIP install")
    monkeypatch.setattr(extras, "uv_tool_receipt", lambda: None)


@pytest.fixture
def in_site_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for site-packages: no pyproject.toml beside the package."""
    monkeypatch.setattr(extras, "__file__", str(tmp_path / "site-packages" / "streamer" / "extras.py"))
    return tmp_path


def installed_from(origin: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(read_text=lambda name: origin)
    monkeypatch.setattr(extras, "distribution", lambda name: found)


def test_a_checkout_is_installed_in_place_from_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CHECKOUT)
    assert extras.install_command("train") == "PIP install -e '.[train]'"


def test_a_checkout_is_named_by_its_path_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert extras.install_command("train") == f"PIP install -e '{CHECKOUT}[train]'"


def test_a_copy_installed_from_a_folder_is_installed_from_it_again(
    in_site_packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = in_site_packages / "my checkout"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    installed_from(json.dumps({"url": folder.as_uri(), "dir_info": {}}), monkeypatch)
    assert extras.install_command("bench") == f"PIP install '{folder}[bench]'"
    monkeypatch.chdir(folder)
    assert extras.install_command("bench") == "PIP install '.[bench]'"


@pytest.mark.parametrize(
    "origin",
    [
        None,
        '{"url": "file:///gone/checkout", "dir_info": {}}',
        '{"url": "https://example.org/x.whl", "archive_info": {}}',
    ],
)
def test_an_installed_wheel_gets_the_extra_by_the_distributions_name(
    origin: str | None, in_site_packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_from(origin, monkeypatch)
    assert extras.install_command("umap") == "PIP install 'streamer-emotion[umap]'"


def test_a_copy_that_was_never_installed_gets_the_distributions_name_too(
    in_site_packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "distribution", missing)
    assert extras.install_command("umap") == "PIP install 'streamer-emotion[umap]'"


@pytest.mark.parametrize(
    ("receipt", "asked_for"),
    [
        ('[tool]\nrequirements = [{ name = "streamer-emotion", extras = ["web"], directory = "/x" }]', "metrics,web"),
        ('[tool]\nrequirements = [{ name = "other", extras = ["web"] }, { name = "streamer-emotion" }]', "metrics"),
        ("[tool]\nrequirements = 3", "metrics"),
        ("no TOML", "metrics"),
    ],
)
def test_a_tool_of_uvs_is_made_anew_with_the_extras_it_has(
    receipt: str, asked_for: str, in_site_packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_from(None, monkeypatch)
    file = in_site_packages / "uv-receipt.toml"
    file.write_text(receipt)
    monkeypatch.setattr(extras, "uv_tool_receipt", lambda: file)
    assert extras.install_command("metrics") == f"uv tool install --force 'streamer-emotion[{asked_for}]'"


def test_the_project_file_uses_the_same_name_and_tests_every_extra_but_the_heaviest() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert project["name"] == extras.DISTRIBUTION
    (ours,) = [one for one in project["optional-dependencies"]["dev"] if one.startswith(f"{extras.DISTRIBUTION}[")]
    tested = ours.removeprefix(f"{extras.DISTRIBUTION}[").removesuffix("]").split(",")
    assert {*tested, "dev", "umap"} == set(project["optional-dependencies"])


def test_no_text_installs_the_strangers_package_that_is_called_streamer() -> None:
    stranger = re.compile(
        r"(?<![\w./-])streamer\[(?=[a-z])|pip install [^\n#`\"]*(?<![\w./-])streamer(?![\w./-])", re.I
    )
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    wrong = []
    for name in filter(None, listed.split("\0")):
        path = CHECKOUT / name
        if path == Path(__file__) or not path.is_file() or path.suffix in (".safetensors", ".ogg", ".png"):
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        wrong += [f"{name}:{number}" for number, line in enumerate(lines, 1) if stranger.search(line)]
    assert wrong == []
