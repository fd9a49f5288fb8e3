"""Optional dependencies: check for them, and print the command that installs them."""

import json
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from streamer.errors import UsageError

DISTRIBUTION = "streamer-emotion"  # pip's name for this package: `streamer` on the index belongs to somebody else
PROJECT_FILE = "pyproject.toml"


def install_command(extra: str) -> str:
    """Return the pip command that adds `extra` to this installation.

    In a checkout, and where `pip install .` ran in one that is still there, pip installs from its folder; otherwise pip
    finds the installed distribution by its name and adds what the extra asks for.
    """
    source, editable = source_folder()
    if source is None:
        return f"pip install '{DISTRIBUTION}[{extra}]'"
    where = "." if source == Path.cwd() else str(source)
    return f"pip install {'-e ' if editable else ''}'{where}[{extra}]'"


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
