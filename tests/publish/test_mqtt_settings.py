"""Broker URLs, logins and certificates as users write them."""

import socket
import ssl
import subprocess
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import UsageError
from streamer.publish.mqtt_settings import BrokerUrl, MqttSettings
from tests.support.real_broker import make_certificates


@pytest.mark.parametrize(
    ("text", "host", "port", "tls", "username", "password"),
    [
        ("mqtt://localhost", "localhost", 1883, False, None, None),
        ("mqtt://localhost:", "localhost", 1883, False, None, None),
        ("mqtt://localhost/", "localhost", 1883, False, None, None),
        (" mqtt://localhost:1884\n", "localhost", 1884, False, None, None),
        ("MQTTS://Broker.Example", "broker.example", 8883, True, None, None),
        ("mqtts://anna:secret@broker.example:8884", "broker.example", 8884, True, "anna", "secret"),
        ("mqtt://anna@broker", "broker", 1883, False, "anna", None),
        ("mqtt://anna:@broker", "broker", 1883, False, "anna", None),
        ("mqtt://a%40b:p%3A%2F%23%25w@broker", "broker", 1883, False, "a@b", "p:/#%w"),
        ("mqtt://a@b:p@w@broker", "broker", 1883, False, "a@b", "p@w"),
        ("mqtt://[::1]:1884", "::1", 1884, False, None, None),
        ("mqtt://[2001:db8::1]", "2001:db8::1", 1883, False, None, None),
        ("mqtt://bücher.example", "bücher.example", 1883, False, None, None),
    ],
)
def test_a_url_is_parsed(
    text: str, host: str, port: int, tls: bool, username: str | None, password: str | None
) -> None:
    assert BrokerUrl.parse(text) == BrokerUrl(host, port, tls, username, password)


@pytest.mark.parametrize(
    "text",
    [
        "", "localhost", "localhost:1883", "http://localhost", "tcp://localhost", "mqtt://", "mqtt:localhost",
        "mqtt://:1883", "mqtt://localhost:0", "mqtt://localhost:65536", "mqtt://localhost:port",
        "mqtt://localhost/topic", "mqtt://localhost?tls=1", "mqtt://localhost#x", "mqtt://[::1", "mqtt://a..b",
        "mqtt://a b", f"mqtt://{'a' * 64}.example", "mqtt://\u2100.example",
    ],
)  # fmt: skip
def test_what_is_no_broker_url_is_refused_with_the_cure(text: str) -> None:
    with pytest.raises(UsageError, match=r"write mqtt://user@host:1883"):
        BrokerUrl.parse(text)


@settings(deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_any_login_survives_percent_encoding(username: str, password: str) -> None:
    url = BrokerUrl.parse(f"mqtt://{quote(username, safe='')}:{quote(password, safe='')}@broker")
    assert (url.username, url.password) == (username, password)


def test_the_password_shows_nowhere() -> None:
    in_url = MqttSettings(url="mqtt://u:hunter2@host", node="n")
    given_apart = MqttSettings(url="mqtt://host", node="n", username="u", password="hunter2")
    for each in (in_url, given_apart):
        assert each.broker.password == "hunter2"
        assert "hunter2" not in repr(each) + repr(each.broker) + str(each.broker)


@pytest.mark.parametrize(
    "text", ["mqtt://u:hunter2@host:x", "mqtt://u:hunter#2@host", "mqtt://u:hunter/2@host", "hunter2"]
)
def test_what_is_refused_is_not_quoted_for_it_may_hold_a_password(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        MqttSettings(url=text)
    assert "hunter" not in "".join(traceback.format_exception_only(refused.value))
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_given_login_wins_over_the_urls() -> None:
    settings = MqttSettings(url="mqtt://anna:old@broker", password="new")
    assert (settings.broker.username, settings.broker.password) == ("anna", "new")
    assert MqttSettings(url="mqtt://anna:x@broker", username="ben").broker.username == "ben"


def test_a_password_alone_is_refused() -> None:
    with pytest.raises(UsageError, match="no user name"):
        MqttSettings(url="mqtt://broker", password="secret")


def test_every_run_has_its_own_client_id_that_any_broker_takes() -> None:
    ids = {MqttSettings(url="mqtt://broker").client_id for _ in range(50)}
    assert len(ids) == 50
    assert all(len(f"{id_}-watch") <= 23 for id_ in ids)


@pytest.mark.parametrize("bad", [{"window_every": 0}, {"state_every_s": 0.0}, {"health_every_s": -1.0}])
def test_an_impossible_interval_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(bad))):
        MqttSettings(url="mqtt://broker", **bad)  # type: ignore[arg-type]


def test_without_tls_there_is_no_context_and_no_use_for_certificates(tmp_path: Path) -> None:
    assert MqttSettings(url="mqtt://broker").tls_context() is None
    with pytest.raises(UsageError, match="mqtts://"):
        MqttSettings(url="mqtt://broker", ca_file=tmp_path / "ca.pem")
    with pytest.raises(UsageError, match="client_cert"):
        MqttSettings(url="mqtts://broker", client_key=tmp_path / "key.pem")


def test_a_tls_broker_is_verified_by_default() -> None:
    context = MqttSettings(url="mqtts://broker").tls_context()
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_connection_whose_handshake_fails_is_closed() -> None:
    context = MqttSettings(url="mqtts://broker.lan").tls_context()
    assert context is not None
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"no TLS here\r\n")
        wrapped = context.wrap_socket(ours, server_hostname="broker.lan", do_handshake_on_connect=False)
        with pytest.raises(ssl.SSLError):
            wrapped.do_handshake()
        assert wrapped.fileno() == -1


@pytest.mark.parametrize("content", [None, "", "not a certificate"])
@pytest.mark.parametrize("key", ["ca_file", "client_cert"])
def test_a_certificate_that_cannot_be_read_is_named_in_one_sentence(
    tmp_path: Path, key: str, content: str | None
) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_text(content)
    settings = MqttSettings(url="mqtts://broker", **{key: path})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=rf"{key} '.*file.pem' cannot be used") as refused:
        settings.tls_context()
    assert str(refused.value).count(". ") == 0


@pytest.mark.real
def test_an_encrypted_key_does_not_ask_for_its_passphrase(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-in", made.client_key, "-aes128", "-passout", "pass:x1y2", "-out", locked],
        check=True, capture_output=True,
    )  # fmt: skip
    settings = MqttSettings(url="mqtts://broker", client_cert=made.client_cert, client_key=locked)
    with pytest.raises(UsageError, match="unencrypted PEM"):
        settings.tls_context()
