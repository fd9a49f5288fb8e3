"""A shard without Ray: what it serves, lets go of, refuses, and how it stops by itself."""

import time
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from streamer.commands.fleet_parts import PARTS
from streamer.fleet.leases import HOLD_S, Lease, Report
from streamer.fleet.shard import Place, ShardHost, StaleDirectorError, shard_settings
from streamer.fleet.table import StreamRow
from streamer.settings import MqttConfig, Settings
from tests.support.real_broker import eventually

PLACE = Place("fleet-default-0", "default", "node", "host")


class Store:
    """Where a shard looks whether it is fenced."""

    def __init__(self) -> None:
        self.fenced: set[str] = set()
        self.answers = True

    def __call__(self, incarnation: str) -> bool:
        if not self.answers:
            raise ConnectionError("the store is away")
        return incarnation in self.fenced


def lease(name: str, number: int, source: str = "demo", password_file: str = "") -> Lease:
    row = StreamRow(name=name, source=SecretStr(source), source_password_file=password_file)
    return Lease(row, (1, number))


@pytest.fixture(scope="module")
def shard() -> Iterator[tuple[ShardHost, Store]]:
    store = Store()
    host = ShardHost(PARTS, PLACE, Settings(mqtt=MqttConfig(url="off")), store, capacity=8)
    eventually(lambda: host.report(1) is not None, 60)
    yield host, store
    host.close()


def report_of(host: ShardHost) -> Report:
    report = host.report(1)
    assert report is not None
    return report


def test_a_shard_serves_and_lets_go_of_streams_and_lasts_without_any(shard: tuple[ShardHost, Store]) -> None:
    host, _ = shard
    assert host.serve(1, [lease("desk", 1), lease("door", 2)]) == {}
    report = report_of(host)
    assert (report.held, report.capacity) == ({"desk": (1, 1), "door": (1, 2)}, 8)
    eventually(lambda: report_of(host).streams["desk"][0] in ("warming", "live", "silence"))
    windows = report_of(host).figures["windows"]
    assert host.release(1, {"door": (1, 2), "desk": (0, 7)}) == ("door",), "the lease of desk is a later one"
    assert host.release(1, {"desk": (1, 1), "nobody": (1, 9)}) == ("desk", "nobody")
    assert report_of(host).held == {}
    host.serve(1, [lease("desk", 3)])
    eventually(lambda: report_of(host).figures["windows"] > windows)
    host.release(1, {"desk": (1, 3)})


def test_a_stream_that_cannot_be_opened_is_refused_with_the_reason_and_hinders_no_other(
    shard: tuple[ShardHost, Store],
) -> None:
    host, _ = shard
    refused = host.serve(1, [lease("desk", 4, "rtsp://user@a.lan/1", "/none/file"), lease("door", 5)])
    assert list(refused) == ["desk"]
    assert "'/none/file' cannot be read" in refused["desk"]
    assert set(report_of(host).held) == {"door"}
    host.release(1, {"door": (1, 5)})


def test_a_fenced_shard_stops_and_is_another_from_then_on(shard: tuple[ShardHost, Store]) -> None:
    host, store = shard
    host.serve(1, [lease("desk", 6)])
    before = report_of(host).incarnation
    store.fenced.add(before)
    eventually(lambda: host.tenure.incarnation != before, HOLD_S)
    assert report_of(host).held == {}


def test_a_shard_that_hears_of_nobody_stops_in_time_and_serves_again_when_it_is_told(
    shard: tuple[ShardHost, Store],
) -> None:
    host, store = shard
    host.serve(1, [lease("desk", 7)])
    before, since = host.tenure.incarnation, time.monotonic()
    time.sleep(HOLD_S + 1)
    assert host.tenure.incarnation == before, "the store says that it is not fenced"
    store.answers = False
    since = time.monotonic()
    eventually(lambda: host.tenure.incarnation != before, HOLD_S + 3)
    assert time.monotonic() - since > 2
    store.answers = True
    assert report_of(host).held == {}
    assert host.serve(1, [lease("desk", 8)]) == {}


def test_orders_of_an_earlier_director_are_refused(shard: tuple[ShardHost, Store]) -> None:
    host, _ = shard
    host.report(3)
    with pytest.raises(StaleDirectorError, match="generation 2"):
        host.serve(2, [lease("desk", 9)])


def test_the_brokers_password_comes_from_the_nodes_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Settings(mqtt=MqttConfig(password=SecretStr("secret"))).model_dump(
        mode="json", exclude={"mqtt": {"password"}}
    )
    assert shard_settings(tables).mqtt.password.get_secret_value() == ""
    monkeypatch.setenv("STREAMER_MQTT__PASSWORD", "of the node")
    assert shard_settings(tables).mqtt.password.get_secret_value() == "of the node"
