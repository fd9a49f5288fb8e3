"""Tell a service manager (systemd's protocol) that the monitor is ready, alive, or ends."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping, MutableMapping

WATCHDOG_S = 60.0  # in the unit: without a sign of life for so long it is killed and started again
LOOK_S = 1.0
STUCK_S = 20.0  # without a step of the worker for so long there is no sign of life


class ServiceManager:
    """Sends datagrams to the socket that the environment names; without one, nothing.

    Args:
        environment: of the process; the variables are taken out of it, so that no child speaks for us.
        monotonic: the clock.
    """

    def __init__(
        self,
        environment: MutableMapping[str, str] = os.environ,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._address = environment.pop("NOTIFY_SOCKET", "")
        self._every_s = _watchdog_s(environment) / 2
        for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
            environment.pop(name, None)
        self._ready = False
        self._status = ""
        self._alive_at = self._looked_at = float("-inf")

    def look(self, idle_s: float | None, status: Callable[[], str]) -> None:
        """Say what is new; call it several times a second, and once a second it looks.

        Args:
            idle_s: seconds since the worker's last step; None: there is no worker yet.
            status: returns one line for `systemctl status`.
        """
        now = self._monotonic()
        if not self._address or idle_s is None or now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        self._say(idle_s, status(), now)

    def _say(self, idle_s: float, status: str, now: float) -> None:
        fields: dict[str, str] = {}
        if not self._ready:
            fields["READY"] = "1"
        if status != self._status:
            fields["STATUS"] = status
        if self._every_s and idle_s < STUCK_S and now - self._alive_at >= self._every_s:
            fields["WATCHDOG"] = "1"
            self._alive_at = now
        self._ready, self._status = True, status
        self._send(fields)

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send({"STOPPING": "1"})

    def _send(self, fields: Mapping[str, str]) -> None:
        if not self._address or not fields:
            return
        text = "\n".join(f"{name}={value}" for name, value in fields.items())
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.setblocking(False)  # a manager that hangs holds up nobody
            connection.sendto(text.encode(), address)


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Return after how long the manager misses us; 0: never, or it watches another process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return int(environment.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        return 0.0
