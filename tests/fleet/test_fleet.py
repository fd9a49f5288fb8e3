"""The real thing on one machine: two shards under Ray, streams over HTTP, a Mosquitto, and what is killed."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.fleet.rig import (
    Ears,
    FleetProgram,
    ends_by_id,
    environment,
    served_twice,
    short_folder,
    sources,
    write_table,
)
from tests.live.program import LIVELY
from tests.support.real_broker import Mosquitto, eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]

STREAMS = 4
SECRETS = ("unheard-of-source", "unheard-of-broker")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[tuple[FleetProgram, Ears, Path]]:
    """A fleet of four streams on two shards, of which each could serve all, with emotions that come often."""
    if find_spec("ray") is None:
        missing("ray", "pip install -e '.[fleet]'")
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        port = stack.enter_context(sources(speaking=STREAMS))
        broker = Mosquitto(tmp_path, passwords={"ears": "open", "shards": SECRETS[1]}).start()
        stack.callback(broker.stop)
        ears = Ears(broker.port, ("ears", "open"))
        stack.callback(ears.close)
        config = tmp_path / "config.toml"
        config.write_text(LIVELY)
        table = write_table(tmp_path / "FLEET.toml", port, STREAMS, shards=2, capacity=8, login=f"u:{SECRETS[0]}@")
        variables = environment(folder) | {"STREAMER_MQTT__PASSWORD": SECRETS[1], "STREAMER_MQTT__USERNAME": "shards"}
        fleet = FleetProgram(variables, str(table), "--config", str(config), "--mqtt", broker.url)
        stack.callback(fleet.close)
        fleet.until(f"{STREAMS} of {STREAMS} streams served by 2 of 2 shards")
        yield fleet, ears, table


def still_open(ears: Ears) -> set[tuple[str, str]]:
    """Return the shards and streams whose newest word on an open emotion is that there is one."""
    newest = {(one.node, one.stream): bool(one.message) for one in ears.of("open")}
    return {place for place, is_open in newest.items() if is_open}


def heard_since(ears: Ears, moment: float) -> set[str]:
    return {one.stream for one in ears.of("window", moment)}


@pytest.mark.timeout(150)
def test_streams_outlive_their_shard_and_the_director_and_no_emotion_stays_open(
    rig: tuple[FleetProgram, Ears, Path],
) -> None:
    fleet, ears, table = rig
    everybody = {f"s{number}" for number in range(STREAMS)}
    eventually(lambda: {one.stream for one in ears.of("transition")} == everybody)

    shard = fleet.actors("ShardActor")[0]
    eventually(lambda: {node for node, _ in still_open(ears)} == {"fleet-default-0", "fleet-default-1"})
    shard.kill()  # either one leaves an emotion open
    killed_at = time.time()
    eventually(lambda: heard_since(ears, killed_at + 2.0) == everybody, 40)
    eventually(lambda: any(one.message.get("reason") == "lost" for one in ears.of("transition", killed_at)), 20)

    (director,) = fleet.actors("DirectorActor")
    director.kill()
    killed_at = time.time()
    eventually(lambda: heard_since(ears, killed_at + 0.5) == everybody, 10)  # nobody waits for the director
    table.write_text(table.read_text().replace('name = "s3"', 'name = "other"'))
    eventually(lambda: "other" in heard_since(ears, killed_at), 40)
    status = json.loads(fleet.command("status", "--json"))
    assert (status["generation"], status["served"], status["unserved"]) == (2, STREAMS, 0)

    folder = Path(fleet.variables["RAY_TMPDIR"])
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.name.startswith("worker-") for path in written), "Ray's logs were looked for in the wrong place"
    assert [path for path in written if any(one.encode() in path.read_bytes() for one in SECRETS)] == []
    assert not any(one in json.dumps(status) + "".join(fleet.lines) for one in SECRETS)

    assert fleet.end() == 0
    assert served_twice(ears.of("window")) == []
    ends = ends_by_id(ears.of("transition"))
    assert len(ends) > STREAMS
    assert {(starts, len(reasons)) for starts, reasons in ends.values()} == {(1, 1)}
    assert {reason for _, reasons in ends.values() for reason in reasons} == {None, "lost"}
    assert still_open(ears) == set()
