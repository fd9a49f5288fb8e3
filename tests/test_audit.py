"""CI fails on a requirement whose lowest version has a known advisory, and says where it could not look."""

import json
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
AUDIT = CHECKOUT / ".ci" / "audit.py"


class Database(BaseHTTPRequestHandler):
    """Answers as osv.dev does; amqtt 0.11.3 and nothing else has an advisory."""

    def do_POST(self) -> None:
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        assert all(query["package"]["ecosystem"] == "PyPI" for query in queries)
        bad = {"vulns": [{"id": "GHSA-wcqj-wx85-c75p", "modified": "2026-01-01T00:00:00Z"}]}
        asked = [(query["package"]["name"], query["version"]) for query in queries]
        answer = json.dumps({"results": [bad if one == ("amqtt", "0.11.3") else {} for one in asked]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Database)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def audit(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(AUDIT), *options], capture_output=True, text=True)


def project(folder: Path, *requirements: str) -> str:
    path = folder / "pyproject.toml"
    extra = json.dumps(["amqtt>=0.11.3,<1", "thing[all]"])
    lines = [f"dependencies = {json.dumps(requirements)}", "[project.optional-dependencies]", f"more = {extra}"]
    path.write_text("\n".join(["[project]", 'name = "thing"', *lines]))
    return str(path)


def test_a_floor_with_an_advisory_fails_also_in_an_extra(database: str, tmp_path: Path) -> None:
    done = audit("--database", database, "--project", project(tmp_path, "rich>=13,<16"))
    assert done.returncode == 1
    assert "amqtt>=0.11.3 allows a version with known advisories: GHSA-wcqj-wx85-c75p; raise its floor." in done.stdout
    assert "2 floors were looked up; 1 with an advisory." in done.stdout


def test_the_projects_own_floors_are_all_asked_about(database: str) -> None:
    done = audit("--database", database)
    assert (done.returncode, done.stderr) == (0, "")
    assert "floors were looked up; none with an advisory." in done.stdout


def test_without_the_database_it_says_so_and_passes() -> None:
    done = audit("--database", "http://127.0.0.1:9")
    assert done.returncode == 0
    assert "cannot be asked" in done.stdout
    assert "no floor was looked up" in done.stdout


def test_a_requirement_without_a_floor_is_refused(tmp_path: Path) -> None:
    done = audit("--database", "http://127.0.0.1:9", "--project", project(tmp_path, "rich"))
    assert done.returncode == 1
    assert "has no floor" in done.stderr


def test_the_kept_versions_are_within_what_the_project_allows() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (CHECKOUT / ".ci" / "constraints.txt").read_text().splitlines()
    kept = dict(line.split("==") for line in lines if "==" in line)
    table = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    wanted = [*table["dependencies"], *(one for extra in table["optional-dependencies"].values() for one in extra)]
    for requirement in map(Requirement, wanted):
        version = kept.get(canonicalize_name(requirement.name))
        assert version is None or requirement.specifier.contains(version), requirement
    assert len(kept) > 50
