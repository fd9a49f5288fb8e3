"""MQTT settings and broker URLs, validated when they are created."""

import secrets
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import platformdirs

from streamer.errors import UsageError
from streamer.publish.topics import Topics, check_prefix, default_node

_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}  # registered with IANA as mqtt and secure-mqtt


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """A parsed broker URL. Its `str()` holds no user name and no password."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "BrokerUrl":
        """Parse `text`; user name and password are percent-decoded, IPv6 hosts stand in brackets.

        Raises:
            UsageError: not such a URL. The message quotes no part of it, because a password may be anywhere in it.
        """
        try:
            parts = urlsplit(text.strip())
            host, port = parts.hostname, parts.port
            username, password = parts.username or None, parts.password or None
        except ValueError:
            raise _not_understood("its host or port cannot be read") from None
        if parts.scheme not in _DEFAULT_PORTS:
            raise _not_understood("it does not begin with mqtt:// or mqtts://")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise _not_understood("something follows host and port")
        if not host or not _is_host(host):
            raise _not_understood("it names no host")
        if port == 0:
            raise _not_understood("port 0 cannot be connected to")
        return cls(
            host=host,
            port=port or _DEFAULT_PORTS[parts.scheme],
            tls=parts.scheme == "mqtts",
            username=None if username is None else unquote(username),
            password=None if password is None else unquote(password),
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def _is_host(host: str) -> bool:
    try:
        host.encode("idna")  # as the resolver does; it refuses empty and overlong labels
    except UnicodeError:
        return False
    return host.isprintable() and " " not in host


def _not_understood(why: str) -> UsageError:
    return UsageError(
        f"The MQTT URL is not understood, {why}; write mqtt://user@host:1883, or mqtts:// for TLS, with "
        "special characters percent-encoded and the password in mqtt.password_file."
    )


def _new_client_id() -> str:
    # Two clients with one id disconnect each other for ever, so every run has its own. Brokers must accept 23
    # characters.
    return f"streamer-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """How to reach the broker, and how often to publish. Neither `repr` nor `str(broker)` shows the password.

    Raises:
        UsageError: a value cannot be used, or a certificate cannot be read.
    """

    url: str = field(repr=False)
    prefix: str = "streamer"
    node: str = field(default_factory=default_node)
    username: str | None = None  # wins over the URL's
    password: str | None = field(default=None, repr=False)  # wins over the URL's
    ca_file: Path | None = None  # authorities to trust instead of the system's; mqtts only
    client_cert: Path | None = None  # for brokers that require one; mqtts only
    client_key: Path | None = None  # where it is not in the certificate's file
    window_every: int = 1  # publish every n-th window
    state_every_s: float = 10.0  # heartbeat of a state that does not change
    health_every_s: float = 30.0
    discovery: bool = False  # announce the streams to Home Assistant
    discovery_prefix: str = "homeassistant"
    state_folder: Path = field(default_factory=lambda: platformdirs.user_state_path("streamer"))
    succession: bool = False  # what is open is kept at the broker, where another shard of the fleet finds it
    client_id: str = field(default_factory=_new_client_id)

    def __post_init__(self) -> None:
        Topics(self.prefix, self.node)
        check_prefix(self.discovery_prefix, "mqtt.discovery_prefix")
        self._check_files()
        if self.window_every < 1:
            raise UsageError(f"window_every is {self.window_every}; it counts windows and begins at 1.")
        if not (self.state_every_s > 0 and self.health_every_s > 0):
            raise UsageError("state_every_s and health_every_s are seconds, more than 0.")
        if self.broker.password is not None and self.broker.username is None:
            raise UsageError("MQTT has a password but no user name; give both, or neither.")

    @property
    def broker(self) -> BrokerUrl:
        """The parsed URL, with the user name and password of the settings where given."""
        url = BrokerUrl.parse(self.url)
        return BrokerUrl(url.host, url.port, url.tls, self.username or url.username, self.password or url.password)

    @property
    def topics(self) -> Topics:
        """The topics that events are published on."""
        return Topics(self.prefix, self.node)

    def tls_context(self) -> ssl.SSLContext | None:
        """Return the TLS context; None for mqtt://.

        Raises:
            UsageError: a certificate or key is missing, unreadable or damaged.
        """
        if not self.broker.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=None if self.ca_file is None else self.ca_file.expanduser())
        except (OSError, ValueError) as error:
            raise _unusable("ca_file", self.ca_file, error) from error
        context.sslsocket_class = _ClosingSocket
        if self.client_cert is not None:
            key = None if self.client_key is None else self.client_key.expanduser()
            try:
                # Without the last argument OpenSSL would prompt for a passphrase on the terminal.
                context.load_cert_chain(self.client_cert.expanduser(), key, password=lambda: "")
            except (OSError, ValueError) as error:
                raise _unusable("client_cert", self.client_cert, error) from error
        return context

    def _check_files(self) -> None:
        files = {"ca_file": self.ca_file, "client_cert": self.client_cert, "client_key": self.client_key}
        named = [name for name, path in files.items() if path is not None]
        if named and not self.broker.tls:
            raise UsageError(
                f"{named[0]} is for encrypted connections; write mqtts:// in the MQTT URL, or leave it out."
            )
        if self.client_key is not None and self.client_cert is None:
            raise UsageError("client_key is given without client_cert; give both.")


class _ClosingSocket(ssl.SSLSocket):
    """Closes itself where the handshake fails; paho-mqtt (2.2.0) leaves that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def _unusable(key: str, path: Path | None, error: Exception) -> UsageError:
    # A missing file is not an SSL error; OpenSSL's other messages need an expert, but they are a start.
    why = error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else error
    return UsageError(f"{key} {str(path)!r} cannot be used ({why}); give the path of an unencrypted PEM file.")
