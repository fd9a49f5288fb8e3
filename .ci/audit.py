"""Ask the database of known advisories (osv.dev) about the lowest version that each requirement allows.

    python .ci/audit.py           ask, and say with which versions the tests ran that differ from .ci/constraints.txt
    python .ci/audit.py --write   write the installed versions, which the tests ran with, to .ci/constraints.txt

Exit code 1 where a floor has an advisory. Where the database cannot be reached that is said, and the exit code is 0. A
script of our own, because pip-audit takes a package for clean that the index in use does not know.
"""

import argparse
import json
import re
import sys
import tomllib
import urllib.error
import urllib.request
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
CONSTRAINTS = Path(__file__).with_name("constraints.txt")
DATABASE = "https://api.osv.dev"
TIMEOUT_S = 20.0
ACCEPTED: dict[str, str] = {}  # id of an advisory without a version that mends it → why it does not concern us
HEAD = (
    "# What the tests ran with, written by `python .ci/audit.py --write`. To have the same:\n"
    "# pip install -c .ci/constraints.txt .\n"
)


def floors(project: Path) -> dict[str, str]:
    """Return the lowest version that the project file allows of each requirement, of the extras too.

    Raises:
        SystemExit: a requirement names none.
    """
    table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    wanted = [*table["dependencies"], *(one for extra in table["optional-dependencies"].values() for one in extra)]
    found = {}
    for requirement in wanted:
        name = canonical(requirement)
        if name == canonical(table["name"]):
            continue
        floor = re.search(r">=\s*([\w.]+)", requirement)
        if floor is None:
            sys.exit(f"{requirement!r} has no floor; write >= the lowest version that was tested.")
        found[name] = min(found.get(name, floor[1]), floor[1], key=numbers)
    return dict(sorted(found.items()))


def advisories(versions: dict[str, str], database: str) -> dict[str, list[str]]:
    """Return the ids of the advisories about these versions, where there are any. Raises OSError, ValueError."""
    queries = [{"package": {"name": n, "ecosystem": "PyPI"}, "version": v} for n, v in versions.items()]
    request = urllib.request.Request(
        f"{database}/v1/querybatch", json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        results = json.load(answer)["results"]
    found = {
        name: sorted({vulnerability["id"] for vulnerability in result.get("vulns", ())} - ACCEPTED.keys())
        for name, result in zip(versions, results, strict=True)
    }
    return {name: ids for name, ids in found.items() if ids}


def installed(names: list[str]) -> dict[str, str]:
    """Return the versions of these distributions and of all that they require, as far as they are installed."""
    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = canonical(waiting.pop())
        try:
            metadata = distribution(name)
        except PackageNotFoundError:  # for another system, or an extra that is not installed
            continue
        if name not in found:
            found[name] = metadata.version.partition("+")[0]  # +cpu is of another index
            waiting += [requirement for requirement in metadata.requires or () if "extra ==" not in requirement]
    return dict(sorted(found.items()))


def canonical(requirement: str) -> str:
    """Return the normalized name of a requirement."""
    name = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name else ""


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, to compare two."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def kept() -> dict[str, str]:
    """Return the versions of the file."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines() if CONSTRAINTS.exists() else []
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Look floors of requirements up in the database of advisories.")
    parser.add_argument("--write", action="store_true", help="write the installed versions to .ci/constraints.txt")
    parser.add_argument("--database", default=DATABASE, help="URL of the database")
    parser.add_argument("--project", type=Path, default=CHECKOUT / "pyproject.toml", help="project file")
    options = parser.parse_args()
    lowest = floors(options.project)
    here = installed(list(lowest))
    if options.write:
        CONSTRAINTS.write_text(HEAD + "".join(f"{n}=={v}\n" for n, v in here.items()), encoding="utf-8")
        return 0
    differ = [f"{name} {here[name]} (kept: {was})" for name, was in kept().items() if here.get(name, was) != was]
    if differ:
        print(f"Installed are other versions than in .ci/constraints.txt: {', '.join(differ)}.")
    try:
        found = advisories(lowest, options.database)
    except (OSError, ValueError, KeyError) as error:
        print(f"The database of advisories at {options.database} cannot be asked ({error}); no floor was looked up.")
        return 0
    for name, ids in found.items():
        print(f"{name}>={lowest[name]} allows a version with known advisories: {', '.join(ids)}; raise its floor.")
    print(f"{len(lowest)} floors were looked up; {len(found) or 'none'} with an advisory.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
