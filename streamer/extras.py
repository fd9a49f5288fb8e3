"""Optional dependencies: check for them, and print the command that installs them."""

import json
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from streamer.errors import UsageError
from streamer.installing import pip_install, uv_tool_receipt

DISTRIBUTION = "streamer-emotion"  # pip's name for this package: `streamer` on the index belongs to somebody else
PROJECT_FILE = "pyproject.toml"


def install_command(extra: str) -> str:
    """Return the command that adds `extra` to this installation.

    In a checkout, and where `pip install .` ran in one that is still there, pip installs from its folder; otherwise pip
    finds the installed distribution by its name and adds what the extra asks for. uv makes a tool's environment anew,
    so that the extras it has by now are named again.
    """
    source, editable = source_folder()
    where = DISTRIBUTION if source is None else "." if source == Path.cwd() else str(source)
    flag = "-e " if editable else ""
    if (receipt := uv_tool_receipt()) is not None:
        return f"uv tool install --force {flag}'{where}[{','.join(sorted({*_extras_of(receipt), extra}))}]'"
    return f"{pip_install()} {flag}'{where}[{extra}]'"


def _extras_of(receipt: Path) -> list[str]:
    """Return the extras with which uv installed this distribution; none where the receipt says nothing of them."""
    try:
        requirements = tomllib.loads(receipt.read_text(encoding="utf-8"))["tool"]["requirements"]
        return [str(extra) for one in requirements if one["name"] == DISTRIBUTION for extra in one.get("extras", ())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def require_sklearn(who: str = "kfold and loso need", otherwise: str = "or use --protocol holdout") -> None:
    """Raise UsageError where scikit-learn is missing."""
    if find_spec("sklearn") is None:
        raise UsageError(f"{who} scikit-learn, which is not installed; {install_command('train')}, {otherwise}.")


def source_folder() -> tuple[Path | None, bool]:
    """Return the checkout behind this installation, None if there is none, and whether it is used in place."""
    beside = Path(__file__).resolve().parents[1]
    if (beside / PROJECT_FILE).is_file():
        return beside, True
    try:
        origin = distribution(DISTRIBUTION).read_text("direct_url.json")  # PEP 610; None: from an index
    except PackageNotFoundError:
        return None, False
    url = json.loads(origin)["url"] if origin else ""
    folder = Path(unquote(urlsplit(url).path))
    if url.startswith("file:") and (folder / PROJECT_FILE).is_file():
        return folder, False
    return None, False
