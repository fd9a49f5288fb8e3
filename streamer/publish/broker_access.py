"""Who may do what at the embedded broker."""

import secrets
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

AccessMode = Literal["read", "secret", "open"]

USERNAME = "streamer"  # goes with the secret


def new_secret() -> str:
    """Return a new secret: 128 random bits, as text without characters that a shell or a URL would change."""
    return secrets.token_hex(16)


class Role(Enum):
    """What a client that was let in may do."""

    READER = "reader"  # subscribe below the prefix
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The rules of one broker.

    With `read`, who does not know the secret may subscribe to topics below the prefix, and nothing else. With `secret`
    it is not let in. With `open` everybody may do everything. A wrong password is refused in the first two, rather than
    ignored, so that its owner learns of it.
    """

    mode: AccessMode
    prefix: str
    secret: str = field(repr=False)

    def role(self, username: str | None, password: bytes | str | None) -> Role | None:
        """Return the role of a client with this login; None where it is refused."""
        if self.mode == "open":
            return Role.EVERYTHING
        if username is None:
            return Role.READER if self.mode == "read" else None
        given = password.encode() if isinstance(password, str) else password or b""
        right = secrets.compare_digest(given, self.secret.encode())
        return Role.EVERYTHING if right and username == USERNAME else None

    def may_subscribe(self, role: Role, topic_filter: str) -> bool:
        """Return whether a client with `role` may subscribe to `topic_filter`."""
        return role is Role.EVERYTHING or topic_filter.startswith(f"{self.prefix}/")
