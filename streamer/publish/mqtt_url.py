"""Where the broker is: `mqtt://user:password@host:port`, `mqtts://` for TLS."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from streamer.errors import UsageError

_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}  # registered with IANA as mqtt and secure-mqtt


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """A broker's address, taken apart. `str()` of it holds no user name and no password."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "BrokerUrl":
        """Take `text` apart; user name and password are percent-decoded, IPv6 hosts stand in brackets.

        Raises:
            UsageError: not such a URL. The message quotes nothing of it, because a password may be anywhere in it.
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
        host.encode("idna")  # what the resolver does; it refuses empty and overlong labels
    except UnicodeError:
        return False
    return host.isprintable() and " " not in host


def _not_understood(why: str) -> UsageError:
    return UsageError(
        f"The MQTT URL is not understood, {why}; write mqtt://user:password@host:1883, or mqtts:// for TLS, "
        "with special characters of user name and password percent-encoded."
    )
