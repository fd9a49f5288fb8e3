"""What whoever runs a fleet does with it, on a cluster of two nodes: figures, drain, restart, stop; and what Ray shows.

With `ray[default]` installed Ray's own dashboard runs, too, and is searched for secrets.
"""

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fleet.rig import Ears, FleetProgram, TwoNodes, environment, served_twice, short_folder, sources, write_table
from tests.support.real_broker import Mosquitto, end_reader, eventually, program

pytestmark = [pytest.mark.campaign, pytest.mark.real]

STREAMS = 6
SHARDS = 3
SECRETS = ("unheard-of-source", "unheard-of-broker")
# Of Ray's dashboard: what its pages ask for.
PAGES = (
    *(f"/api/v0/{what}?detail=1" for what in ("actors", "tasks", "workers", "objects", "nodes", "runtime_envs")),
    *("/nodes?view=details", "/nodes?view=summary", "/logical/actors", "/api/jobs/", "/api/cluster_status", "/events"),
)


class Availability:
    """Which shards were away when, by what the broker says of them."""

    def __init__(self, port: int, login: tuple[str, str]) -> None:
        command = [program("mosquitto_sub"), "-h", "127.0.0.1", "-p", str(port), "-u", login[0], "-P", login[1], "-v"]
        self._process = subprocess.Popen([*command, "-t", "streamer/+/availability"], stdout=subprocess.PIPE, text=True)
        self.away: set[str] = set()
        self.most_away = 0
        self.came = 0  # how often one came back
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            topic, word = line.split()
            shard = topic.split("/")[1]
            if word == "online":
                self.came += shard in self.away
                self.away.discard(shard)
            else:
                self.away.add(shard)
            self.most_away = max(self.most_away, len(self.away))

    def close(self) -> None:
        end_reader(self._process, self._thread)


class Fleet:
    """A fleet that was started with --detach, and its cluster."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        variables = environment(stack.enter_context(short_folder())) | {
            "STREAMER_MQTT__PASSWORD": SECRETS[1],
            "STREAMER_MQTT__USERNAME": "shards",
        }
        port = stack.enter_context(sources(speaking=STREAMS))
        self.broker = Mosquitto(folder, passwords={"ears": "open", "shards": SECRETS[1]}).start()
        stack.callback(self.broker.stop)
        self.ears = Ears(self.broker.port, ("ears", "open"))
        stack.callback(self.ears.close)
        self.availability = Availability(self.broker.port, ("ears", "open"))
        stack.callback(self.availability.close)
        config = folder / "config.toml"
        config.write_text('[metrics]\nlisten = "127.0.0.1:0"\n')
        self.nodes = TwoNodes(variables)
        stack.callback(self.nodes.close)
        self.token = variables["RAY_AUTH_TOKEN"]
        self.folder = Path(variables["RAY_TMPDIR"])
        table = write_table(folder / "FLEET.toml", port, STREAMS, SHARDS, 8, login=f"u:{SECRETS[0]}@")
        self._program = FleetProgram(
            variables, str(table), "--config", str(config), "--mqtt", self.broker.url, "--address", self.nodes.address,
            "--detach",
        )  # fmt: skip
        stack.callback(self._program.close)
        assert self._program.process.wait(120) == 0, self._program.lines

    def __call__(self, *arguments: str) -> str:
        return self._program.command(*arguments, "--address", self.nodes.address)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("status", "--json"))
        return found

    def is_whole(self) -> bool:
        status = self.status()
        return status["served"] == STREAMS and [one["state"] for one in status["shards"]] == ["up"] * SHARDS

    def heard_since(self, moment: float) -> set[str]:
        return {one.stream for one in self.ears.of("window", moment)}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(stack, tmp_path)


@pytest.mark.timeout(600)
def test_figures_drain_restart_and_stop_on_a_cluster(fleet: Fleet) -> None:
    everybody = {f"s{number}" for number in range(STREAMS)}
    eventually(fleet.is_whole, 180)
    eventually(lambda: fleet.heard_since(0.0) == everybody)

    _figures_of_all_streams_can_be_scraped(fleet, everybody)
    _no_secret_is_shown(fleet)

    second = next(one["node"] for one in fleet.status()["shards"] if one["node"] != fleet.nodes.first)
    assert "is empty" in fleet("drain", second)
    status = fleet.status()
    assert {one["node"] for one in status["shards"] if one["streams"]} == {fleet.nodes.first}
    assert (status["served"], status["unserved"], status["cordoned"]) == (STREAMS, 0, [second])
    drained_at = time.time()
    eventually(lambda: fleet.heard_since(drained_at) == everybody)
    fleet("drain", second, "--undo")
    assert fleet.status()["cordoned"] == []

    came = fleet.availability.came
    fleet("restart")
    eventually(lambda: fleet.availability.came == came + SHARDS, 180)
    eventually(lambda: fleet.status()["restarting"] == 0 and fleet.is_whole(), 60)
    restarted_at = time.time()
    eventually(lambda: fleet.heard_since(restarted_at) == everybody)
    assert fleet.availability.most_away == 1

    fleet("stop")
    eventually(lambda: len(fleet.availability.away) == SHARDS)
    stopped_at = time.time()
    time.sleep(3.0)
    assert fleet.heard_since(stopped_at) == set()
    assert served_twice(fleet.ears.of("window")) == []


def _figures_of_all_streams_can_be_scraped(fleet: Fleet, everybody: set[str]) -> None:
    targets = json.loads(fleet("status", "--prometheus"))
    assert {one["labels"]["shard"] for one in targets} == {f"fleet-default-{number}" for number in range(SHARDS)}
    figures = [
        urllib.request.urlopen(f"http://{one['targets'][0]}/metrics", timeout=5).read().decode() for one in targets
    ]
    assert {stream for stream in everybody for text in figures if f'stream="{stream}"' in text} == everybody


def _no_secret_is_shown(fleet: Fleet) -> None:
    shown = [
        fleet("status"),
        fleet("status", "--json"),
        json.dumps([one.message for one in fleet.ears.heard], default=str),
    ]
    shown += [" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]
    written = [path for path in fleet.folder.rglob("*") if path.is_file()]
    assert any(path.name.startswith("worker-") for path in written), "Ray's logs were looked for in the wrong place"
    shown += [path.read_bytes().decode(errors="replace") for path in written]
    pages = 0
    for page in PAGES if fleet.nodes.dashboard else ():
        request = urllib.request.Request(
            f"http://{fleet.nodes.dashboard}{page}", headers={"Authorization": f"Bearer {fleet.token}"}
        )
        try:
            text = urllib.request.urlopen(request, timeout=30).read().decode()
        except urllib.error.HTTPError as error:
            print(f"{page}: {error.code}")
            continue
        if "actors" in page:
            assert "fleet-default-0" in text, page
        shown.append(text)
        pages += 1
    print(f"{pages} pages of Ray's dashboard, {len(written)} files and {len(shown)} texts in all were searched")
    assert not fleet.nodes.dashboard or pages > len(PAGES) / 2
    assert [text[:200] for text in shown if any(secret in text for secret in SECRETS)] == []
