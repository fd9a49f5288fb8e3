"""Each reason for a failed connection is one sentence with the cure, and without the password."""

import socket
import ssl

import pytest
from aiomqtt import MqttError
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from streamer.errors import UsageError
from streamer.publish.link_errors import explain
from streamer.publish.mqtt_settings import BrokerUrl

PLAIN = BrokerUrl.parse("mqtt://anna:secret@broker.lan")
TLS = BrokerUrl.parse("mqtts://anna:secret@broker.lan")


def wrong_version() -> ssl.SSLError:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    error.reason = "WRONG_VERSION_NUMBER"
    return error


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "broker", "sentence"),
    [
        (
            ConnectionRefusedError(111, "Connection refused"),
            PLAIN,
            "Nothing listens at mqtt://broker.lan:1883; start the broker, or check host and port.",
        ),
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            PLAIN,
            "The host of mqtt://broker.lan:1883 has no address; check its name and the network.",
        ),
        (
            TimeoutError(),
            PLAIN,
            "mqtt://broker.lan:1883 does not answer; check host, port and firewall, and whether it requires mqtts://.",
        ),
        (
            TimeoutError(),
            TLS,
            "mqtts://broker.lan:8883 does not answer; check host, port and firewall, and whether it requires a "
            "client_cert.",
        ),
        (
            untrusted(),
            TLS,
            "The certificate of mqtts://broker.lan:8883 cannot be trusted (self-signed certificate); name the "
            "certificate of its authority in ca_file, and the host as the certificate names it.",
        ),
        (
            wrong_version(),
            TLS,
            "No encrypted connection to mqtts://broker.lan:8883 (WRONG_VERSION_NUMBER); check port, certificates and "
            "mqtts://.",
        ),
        (
            ConnectionResetError(104, "Connection reset by peer"),
            PLAIN,
            "The connection to mqtt://broker.lan:1883 was lost ([Errno 104] Connection reset by peer); trying again.",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_of_the_system_is_explained(error: OSError, broker: BrokerUrl, sentence: str) -> None:
    assert explain(error, broker) == sentence


def test_the_cause_that_aiomqtt_hides_is_explained() -> None:
    error = MqttError("[Errno 111] Connection refused")
    error.__context__ = ConnectionRefusedError(111, "Connection refused")
    assert explain(error, PLAIN).startswith("Nothing listens at mqtt://broker.lan:1883; ")


def test_a_lost_connection_without_a_cause_is_explained() -> None:
    assert explain(MqttError("Disconnected during message iteration"), PLAIN) == (
        "The connection to mqtt://broker.lan:1883 was lost (Disconnected during message iteration); trying again."
    )


@pytest.mark.parametrize("name", ["Bad user name or password", "Not authorized"])
def test_a_refused_login_names_the_cure(name: str) -> None:
    error = MqttConnectError(ReasonCode(PacketTypes.CONNACK, name))
    assert explain(error, PLAIN) == (
        f"mqtt://broker.lan:1883 refuses the login ({name.lower()}); check user name and password."
    )


def test_another_refusal_names_the_brokers_reason() -> None:
    error = MqttConnectError(ReasonCode(PacketTypes.CONNACK, "Server unavailable"))
    assert explain(error, PLAIN) == (
        "mqtt://broker.lan:1883 refuses the connection (Server unavailable); check the broker's settings."
    )


def test_a_sentence_of_our_own_stays_as_it_is() -> None:
    assert explain(UsageError("Give another port."), PLAIN) == "Give another port."


@pytest.mark.parametrize("broker", [PLAIN, TLS])
@pytest.mark.parametrize("error", [TimeoutError(), ssl.SSLError(1, "x"), MqttError("x"), OSError("x")])
def test_no_sentence_shows_the_login(error: Exception, broker: BrokerUrl) -> None:
    sentence = explain(error, broker)
    assert "anna" not in sentence
    assert "secret" not in sentence
