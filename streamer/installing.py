"""The command that installs a package into the environment at hand, as it is typed in the folder that is open."""

import os
import shlex
import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

PIPX_RECEIPT, UV_TOOL_RECEIPT = "pipx_metadata.json", "uv-receipt.toml"  # in the prefix of an environment they made


def pip_install() -> str:
    """Return what stands before the packages: `.venv/bin/pip install` where that is the environment in use.

    It is `pip install` alone only where the shell finds that environment's pip under this name. `pipx` has one for
    each of its environments. An environment without pip was made by uv, or as bare as uv makes them.
    """
    prefix = Path(sys.prefix)
    if (prefix / PIPX_RECEIPT).is_file():
        return f"pipx runpip {shlex.quote(prefix.name)} install"
    pip = Path(sysconfig.get_path("scripts")) / ("pip.exe" if os.name == "nt" else "pip")
    if pip.is_file():
        found = shutil.which("pip")
        return "pip install" if found is not None and pip.samefile(found) else f"{_typed(pip)} install"
    if find_spec("pip") is not None:
        return f"{_typed(Path(sys.executable))} -m pip install"
    return f"uv pip install --python {_typed(Path(sys.executable))}"


def uv_tool_receipt() -> Path | None:
    """Return the receipt of `uv tool install`, where that made the environment; None elsewhere."""
    receipt = Path(sys.prefix) / UV_TOOL_RECEIPT
    return receipt if receipt.is_file() else None


def _typed(path: Path) -> str:
    """Return `path` as short as it can be typed here: relative where it lies below the working folder."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
