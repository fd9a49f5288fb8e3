"""Explain a failed connection to the broker, in one sentence with the cure."""

import socket
import ssl

from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.reasoncodes import ReasonCode

from streamer.errors import StreamerError
from streamer.publish.mqtt_settings import BrokerUrl

# Reason codes of a refused CONNECT; paho translates those of MQTT 3.1.1 to these, too.
_BAD_LOGIN = {134, 135}  # bad user name or password; not authorized


def explain(error: Exception, broker: BrokerUrl) -> str:
    """Return the sentence for `error`, raised while connecting or connected to `broker`."""
    if isinstance(error, StreamerError):
        return str(error)
    if isinstance(error, MqttConnectError):
        return _refusal(error, broker)
    # aiomqtt raises its own error for one of the operating system, and keeps the original as its context.
    cause = error if isinstance(error, OSError) else error.__cause__ or error.__context__
    match cause:
        case ssl.SSLCertVerificationError():
            return (
                f"The certificate of {broker} cannot be trusted ({cause.verify_message}); name the certificate of its "
                "authority in ca_file, and the host as the certificate names it."
            )
        case ssl.SSLError() if broker.tls:
            reason = (
                getattr(cause, "reason", None) or cause
            )  # OpenSSL's word for it; missing on errors raised in Python
            return f"No encrypted connection to {broker} ({reason}); check port, certificates and mqtts://."
        case socket.gaierror():
            return f"The host of {broker} has no address; check its name and the network."
        case ConnectionRefusedError():
            return f"Nothing listens at {broker}; start the broker, or check host and port."
        case TimeoutError() if broker.tls:
            # Also where it closes the connection before it has answered: aiomqtt raises the same for both.
            return f"{broker} does not answer; check host, port and firewall, and whether it requires a client_cert."
        case TimeoutError():
            return f"{broker} does not answer; check host, port and firewall, and whether it requires mqtts://."
    return f"The connection to {broker} was lost ({cause or error}); trying again."


def _refusal(error: MqttConnectError, broker: BrokerUrl) -> str:
    if isinstance(error.rc, ReasonCode) and error.rc.value in _BAD_LOGIN:
        return f"{broker} refuses the login ({str(error.rc).lower()}); check user name and password."
    return f"{broker} refuses the connection ({error.rc}); check the broker's settings."
