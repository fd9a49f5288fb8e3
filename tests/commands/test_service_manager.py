"""systemd's protocol: ready once the worker runs, alive while it steps, stopping at the end."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.commands.service_manager import STUCK_S, ServiceManager
from tests.live.program import Streamer


class Manager:
    """The socket on which a service manager listens."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def told(self) -> list[str]:
        """What was sent since the last call."""
        found = []
        while True:
            try:
                found += self.socket.recv(4_096).decode().splitlines()
            except BlockingIOError:
                return found


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@streamer-test-{os.getpid()}"


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    manager = Manager(address.replace("@", "\0"))
    yield manager
    manager.socket.close()


def test_it_is_ready_once_there_is_a_worker_and_alive_while_that_steps(address: str, manager: Manager) -> None:
    clock = Clock()
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid()), "A": "1"}
    service = ServiceManager(environment, clock)
    assert environment == {"A": "1"}, "a child would speak for us"
    service.look(None, lambda: "")
    assert manager.told() == []
    service.look(0.1, lambda: "desk: warming")
    assert manager.told() == ["READY=1", "STATUS=desk: warming", "WATCHDOG=1"]
    told = []
    for _ in range(70 * 5):  # a look every 0.2 s for 70 s
        clock.now += 0.2
        service.look(0.1, lambda: "desk: live")
        told += manager.told()
    assert told == ["STATUS=desk: live", "WATCHDOG=1", "WATCHDOG=1"]
    for _ in range(100):
        clock.now += 1.0
        service.look(STUCK_S + 1, lambda: "desk: live")
    assert manager.told() == [], "a worker that is stuck is not alive"
    service.stopping()
    assert manager.told() == ["STOPPING=1"]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "soon"},
    ],
)
def test_without_a_manager_nothing_happens(environment: dict[str, str]) -> None:
    service = ServiceManager(environment)
    service.look(0.1, lambda: "desk: live")
    service.stopping()


def test_the_watchdog_of_another_process_is_left_to_it(address: str, manager: Manager) -> None:
    service = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"})
    service.look(0.1, lambda: "")
    assert manager.told() == ["READY=1"]


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_the_real_program_speaks_to_its_manager(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
    told: list[str] = []

    def has(text: str, times: int = 1) -> bool:
        told.extend(manager.told())
        return told.count(text) >= times

    with Streamer("run", "demo", "--headless", "--mqtt", "off", env=environment) as program:
        program.until(lambda: has("READY=1"))
        assert program.of("info"), "ready before the model was loaded"
        program.until(lambda: has("WATCHDOG=1", 3))
        assert any(line.startswith("STATUS=demo: ") for line in told)
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(30) == 0
    assert has("STOPPING=1")
    assert told.count("READY=1") == 1
    manager.socket.close()
