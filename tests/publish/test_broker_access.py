"""Who may do what at the embedded broker."""

import contextlib
import json
import os
import stat
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from streamer.config import load
from streamer.publish.broker import EmbeddedBroker
from streamer.publish.broker_access import AccessRules, Role
from streamer.publish.open import mqtt_settings, open_mqtt
from streamer.settings import MqttConfig
from tests.publish.embedded import port_of, publish_one, started
from tests.publish.raw_client import RawClient, publish_packet
from tests.support.event_samples import transition
from tests.support.real_broker import eventually

REFUSED = 0x80


def logins(broker: EmbeddedBroker) -> dict[str, tuple[str, str] | None]:
    return {
        "none": None,
        "right": broker.login,
        "wrong": ("streamer", "wrong"),
        "other user": ("root", broker.login[1]),
    }


@pytest.mark.parametrize(
    ("access", "login", "connack"),
    [
        ("read", "none", 0),
        ("read", "right", 0),
        ("read", "wrong", 4),
        ("read", "other user", 4),
        ("secret", "none", 5),
        ("secret", "right", 0),
        ("secret", "wrong", 4),
        ("open", "none", 0),
        ("open", "wrong", 0),
    ],
)
def test_who_is_let_in(access: str, login: str, connack: int) -> None:
    with started(access=access) as broker:
        assert RawClient(port_of(broker), login=logins(broker)[login]).connack == connack


def test_without_the_secret_one_reads_the_prefix_and_nothing_else() -> None:
    with started(access="read") as broker:
        stranger, owner = RawClient(port_of(broker)), RawClient(port_of(broker), login=broker.login)
        wanted = ("streamer/#", "streamer/n/+/state", "#", "+/n/info", "streamerx/#", "streamer", "$SYS/#")
        assert stranger.subscribe(*wanted) == [0, 0] + [REFUSED] * 5
        owner.send(publish_packet("streamer/n/s/state", b"heard"), publish_packet("other/x", b"private"))
        owner.send(publish_packet("streamer/n/s/state", b"again"))
        # The first two subscriptions overlap, so each may come twice.
        assert set(stranger.payloads(3)) <= {b"heard", b"again"}


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_without_the_secret_nobody_publishes(qos: int) -> None:
    with started(access="read") as broker:
        listener = RawClient(port_of(broker), login=broker.login)
        listener.subscribe("#")
        forger = RawClient(port_of(broker))
        forger.send(publish_packet("streamer/n/s/mute/set", b"ON", qos=qos))
        assert forger.is_closed_by_the_broker()
        assert RawClient(port_of(broker), will=("streamer/n/availability", "offline")).connack == 5
        RawClient(port_of(broker), login=broker.login).send(publish_packet("streamer/n/x", b"mine"))
        assert listener.payloads(1) == [b"mine"]


def test_readers_leave_room_for_those_with_the_secret() -> None:
    with started(access="read") as broker, contextlib.ExitStack() as stack:
        readers = [RawClient(port_of(broker)) for _ in range(90)]
        for reader in readers:
            stack.callback(reader.close)
        assert {reader.connack for reader in readers} == {0, 3}
        publish_one(broker.url, broker.login)


def test_our_own_programs_find_the_secret_which_others_cannot_read(cache: Path) -> None:
    with started(access="secret") as broker:
        file = next((cache / "brokers").glob("*.json"))
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert json.loads(file.read_text())["secret"] == broker.login[1]
        publish_one(broker.url, as_configured(MqttConfig(), broker.url))
        assert as_configured(MqttConfig(username="somebody"), broker.url) == ("somebody", None)
        assert as_configured(MqttConfig(), "mqtt://127.0.0.1:1") == (None, None)


def as_configured(table: MqttConfig, url: str) -> tuple[str | None, str | None]:
    broker = mqtt_settings(table, url).broker
    return broker.username, broker.password


def test_the_runtime_folder_is_taken_where_there_is_one(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with started():
        assert len(list((tmp_path / "streamer" / "brokers").glob("*.json"))) == 1
        assert not (cache / "brokers").exists() or cache == tmp_path / "streamer"


@pytest.mark.parametrize("access", ["read", "secret", "open"])
def test_the_monitors_publisher_is_let_in(access: str) -> None:
    with ExitStack() as stack:
        out = open_mqtt(load(flags={"mqtt": {"embedded_access": access}}).mqtt, stack)
        assert out is not None
        with contextlib.closing(out):
            out.start()
            out.publish(transition(0))
            eventually(lambda: out.stats().sent >= 1)


def test_the_secret_stands_in_no_list_of_processes() -> None:
    with started(access="secret") as broker:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                assert broker.login[1] not in " ".join(process.cmdline())
        assert broker.pid is not None
        assert broker.login[1] not in str(psutil.Process(broker.pid).environ())
        assert broker.login[1] not in f"{broker.url} {broker._options!r}"


def test_a_password_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("of a file\nsecond line")
    table = MqttConfig(username="me", password_file=str(tmp_path / "password"))
    assert as_configured(table, "mqtts://broker.lan") == ("me", "of a file")


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("mqtt://me:secret@192.0.2.1", True),
        ("mqtt://me:secret@studio.lan", True),
        ("mqtts://me:secret@studio.lan", False),
        ("mqtt://me:secret@127.0.0.1", False),
        ("mqtt://me:secret@localhost", False),
        ("mqtt://me:secret@[::1]", False),
        ("mqtt://studio.lan", False),
    ],
)
def test_a_password_that_travels_unencrypted_is_warned_of(
    url: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    mqtt_settings(MqttConfig(), url)
    assert len(caplog.records) == warned
    assert "secret" not in caplog.text


def test_a_wrong_password_is_compared_as_slowly_as_a_right_one() -> None:
    rules = AccessRules("read", "streamer", "s3cret")
    assert rules.role("streamer", b"s3cret") is Role.EVERYTHING
    assert rules.role("streamer", "s3cret") is Role.EVERYTHING
    assert rules.role("streamer", b"\xff\xfe") is None
    assert rules.role(None, None) is Role.READER
    assert "s3cret" not in repr(rules)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no owners of files there")
def test_the_folder_of_the_secrets_is_the_owners(cache: Path) -> None:
    with started():
        assert stat.S_IMODE((cache / "brokers").stat().st_mode) & 0o077 in (0, 0o055, 0o050)
