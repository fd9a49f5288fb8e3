"""Who may look at the page: on loopback every browser of this machine, on the network who has the token."""

import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs
from aiohttp import web

from streamer.errors import StreamerError, UsageError
from streamer.loopback import host_of, is_loopback_name
from streamer.publish.listen import Listen
from streamer.secret_files import read_password, write_password
from streamer.web.where import check_reach

COOKIE = "streamer-token"
LEAST_CHARACTERS = 16  # of a token that somebody chose


@dataclass(frozen=True, slots=True)
class Access:
    """The rule for one server."""

    listen: Listen
    token: str = field(default="", repr=False)  # empty: there is none, and the server is for this machine

    def refusal(self, request: web.Request) -> str:
        """Return why the request is not answered, in one sentence; empty where it is."""
        if not self.token:
            if is_loopback_name(host_of(request.host)):
                return ""
            return "This page is for its own machine; ask for 127.0.0.1 or localhost."
        if self.accepts(request.cookies.get(COOKIE, "")) or self.accepts(bearer(request)):
            return ""
        return "This page needs its token; open the address that streamer printed when it started."

    def accepts(self, token: str) -> bool:
        """Return whether `token` is the right one, in a time that does not tell how much of it is right."""
        return bool(self.token) and hmac.compare_digest(token.encode(), self.token.encode())


def bearer(request: web.Request) -> str:
    """Return the token of an `Authorization: Bearer` header, as scripts send it."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def choose_access(listen: Listen, open_to_network: bool, token_file: str) -> Access:
    """Return the rule for a server at `listen`.

    Args:
        listen: where it listens.
        open_to_network: the user wants others to see it, who then need a token.
        token_file: holds the token on its first line; empty: one is made, and kept for the next run.

    Raises:
        UsageError: others would reach it, and that was not asked for; or the token cannot be read.
        StreamerError: a token cannot be kept.
    """
    check_reach(listen, open_to_network)
    if not open_to_network:
        return Access(listen)
    if token_file:
        token = read_password(token_file, "web.token_file")
        if len(token) < LEAST_CHARACTERS:
            raise UsageError(
                f"web.token_file: the token in {token_file!r} is too short; it needs {LEAST_CHARACTERS} characters."
            )
        return Access(listen, token)
    return Access(listen, _kept_token(platformdirs.user_state_path("streamer") / "web-token"))


def _kept_token(path: Path) -> str:
    if path.exists():
        return read_password(path, "the kept token")
    token = secrets.token_urlsafe(24)
    try:
        write_password(path, token)
    except OSError as error:
        raise StreamerError(
            f"The token cannot be kept in {path} ({error.strerror}); name a file with one as web.token_file."
        ) from None
    return token
