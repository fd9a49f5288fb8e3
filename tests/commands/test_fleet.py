"""`streamer fleet` before there is a cluster: what is refused and said, and the tables of a made-up fleet."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from streamer.cli import app
from streamer.commands import fleet as commands
from streamer.commands import on_ray
from streamer.commands.fleet_run import run_fleet
from streamer.commands.fleet_tables import print_status
from streamer.errors import StreamerError, UsageError
from streamer.fleet.leases import Report
from streamer.fleet.ledger import Ledger
from streamer.fleet.status import FleetStatus, status_of
from streamer.fleet.table import FleetTable, GroupConfig, StreamRow
from streamer.settings import MqttConfig, Settings

runner = CliRunner()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "streams.csv"
    path.write_text("name,source\ndesk,http://a.lan/1\n")
    return path


@pytest.fixture
def status() -> FleetStatus:
    """Two of three streams served; one shard of two is there."""
    rows = tuple(StreamRow(name=name, source=SecretStr("http://a.lan"), priority=1) for name in ("a", "b", "c"))
    ledger = Ledger(FleetTable(stream=rows, group=(GroupConfig(name="default", shards=2),)))
    report = Report("fleet-default-0", "default", "x", "node", "host", 3, {}, metrics="http://0.0.0.0:9100/metrics")
    ledger.report(report, 1.0)
    ledger.step(1.0)
    return status_of("fleet", 1, ledger, {"fleet-default-0": "", "fleet-default-1": ""}, "line 7 is wrong")


@pytest.mark.parametrize(
    "words",
    [
        ["fleet", "status"], ["fleet", "run", "streams.csv"], ["fleet", "drain", "host"], ["fleet", "restart"],
        ["fleet", "stop"], ["fleet", "watch"], ["embed", ".", "-o", "out", "--ray"],
        ["label", ".", "-o", "out", "--ray"],
    ],
)  # fmt: skip
def test_without_ray_each_command_says_how_to_install_it(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "find_spec", lambda name: None)
    error = runner.invoke(app, words).exception
    assert isinstance(error, UsageError)
    assert "needs Ray, which is not installed; " in str(error)
    assert "[fleet]'" in str(error)


@pytest.mark.parametrize(
    ("url", "address", "detach", "said"),
    [
        ("mqtt://b.lan", None, True, "name it with --address"),
        ("embedded", "auto", False, "The embedded broker is for one machine"),
        ("mqtts://u:hunter2@b.lan", "auto", False, "set mqtt.password_file"),
    ],
)
def test_what_cannot_work_on_a_cluster_is_refused_before_anything_is_started(
    url: str, address: str | None, detach: bool, said: str, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UsageError, match=said) as caught:
        run_fleet(table, Settings(mqtt=MqttConfig(url=url)), address, detach=detach)
    assert "hunter2" not in str(caught.value)


def test_the_status_lists_shards_and_the_streams_that_need_somebody(
    status: FleetStatus, capsys: pytest.CaptureFixture[str]
) -> None:
    print_status(status, 20)
    said = capsys.readouterr().out
    for part in (
        "fleet: 2 of 3 streams served by 1 of 2 shards.",
        "line 7 is wrong",
        "fleet-default-1: it starts, or waits for room in the cluster",
        "1 unserved, 2 starting",
        "c unserved: no shard of the group 'default' has room",
    ):
        assert part in said
    assert json.loads(json.dumps(status.as_dict()))["streams"][0]["name"] == "c", "the worst first"


def test_prometheus_is_told_where_each_shard_is(status: FleetStatus) -> None:
    assert list(commands._targets(status)) == [
        {"targets": ["host:9100"], "labels": {"shard": "fleet-default-0", "fleet": "fleet"}}
    ]
    nothing = status_of("fleet", 1, None, {}, "")
    with pytest.raises(StreamerError, match=r"set metrics\.listen"):
        list(commands._targets(nothing))
