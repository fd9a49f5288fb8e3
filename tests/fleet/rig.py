"""A fleet on this machine for tests: HTTP sources, a Mosquitto with ears, `streamer fleet run`, and what is killed."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support.real_broker import end_reader, eventually, free_port, program


@dataclass(frozen=True, slots=True)
class Heard:
    """One message, and when it came."""

    at: float  # seconds since the epoch
    node: str
    stream: str
    kind: str
    message: Mapping[str, Any]


class Ears:
    """A `mosquitto_sub` on everything that shards publish, with the time of each message."""

    def __init__(self, port: int, login: Sequence[str] = (), prefix: str = "streamer") -> None:
        command = [program("mosquitto_sub"), "-h", "127.0.0.1", "-p", str(port), "-q", "1", "-F", "%U %r %t %p"]
        command += ["-u", login[0], "-P", login[1]] if login else []
        for kind in ("window", "transition", "open", "health"):
            command += ["-t", f"{prefix}/+/+/{kind}"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.heard: list[Heard] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            at, _, topic, payload = line.rstrip("\n").split(" ", 3)
            _, node, stream, kind = topic.split("/")
            self.heard.append(Heard(float(at), node, stream, kind, json.loads(payload) if payload else {}))

    def of(self, kind: str, since: float = 0.0) -> list[Heard]:
        return [one for one in list(self.heard) if one.kind == kind and one.at >= since]

    def close(self) -> None:
        end_reader(self._process, self._thread)


def environment(folder: Path) -> dict[str, str]:
    """The variables for a Ray of a test's own: it writes into `folder`, which must have a short name."""
    return {
        **os.environ,
        "RAY_TMPDIR": str(folder),
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
        "RAY_object_store_memory": str(80 * 2**20),
    }


@contextmanager
def short_folder() -> Iterator[Path]:
    """A new folder right under /tmp: Ray's sockets lie in it, whose paths have some hundred characters at most."""
    folder = Path(tempfile.mkdtemp(prefix="sf", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def sources(speaking: int) -> Iterator[int]:
    """Run the HTTP sources; yields their port."""
    port = free_port()
    command = [sys.executable, "-m", "tests.fleet.sources", str(port), str(speaking)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield port
    finally:
        process.kill()
        process.wait(5)
        assert process.stdout is not None
        process.stdout.close()


class FleetProgram:
    """`streamer fleet run` in a process of its own; what it says is kept."""

    def __init__(self, variables: Mapping[str, str], *arguments: str) -> None:
        self.variables = variables
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamer", "fleet", "run", *arguments],
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._thread = threading.Thread(target=lambda: self.lines.extend(self.process.stdout or ()), daemon=True)
        self._thread.start()

    def until(self, text: str, within_s: float = 90.0, after: int = 0) -> None:
        """Wait until it says something with `text` in it, not looking at the first `after` lines."""

        def said() -> bool:
            assert self.process.poll() is None, "".join(self.lines)
            return any(text in line for line in self.lines[after:])

        try:
            eventually(said, within_s)
        except AssertionError:
            raise AssertionError(f"{text!r} is not in {''.join(self.lines)}") from None

    def command(self, *arguments: str) -> str:
        """Run another `streamer fleet …`; returns what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "streamer", "fleet", *arguments],
            env=dict(self.variables),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def popen(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start another `streamer fleet …`, whatever it says."""
        return subprocess.Popen(
            [sys.executable, "-m", "streamer", "fleet", *arguments],
            env=dict(self.variables),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def actors(self, title: str) -> list[psutil.Process]:
        """The processes of the actors of a class, below this program's Ray."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if process.cmdline()[0].startswith(f"ray::{title}"):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.ZombieProcess, IndexError):
                continue
        return found

    def end(self) -> int:
        """End it as a service is ended."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(40)
        finally:
            self.close()

    def close(self) -> None:
        """Leave nothing behind."""
        with_children = []
        if self.process.poll() is None:
            with_children = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
        for child in with_children:
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait(10)
        self._thread.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()


def write_table(path: Path, port: int, streams: int, shards: int, capacity: int, login: str = "") -> Path:
    """Write a FLEET.toml of HTTP sources."""
    rows = "".join(
        f'[[stream]]\nname = "s{n}"\nsource = "http://{login}127.0.0.1:{port}/{n}"\n' for n in range(streams)
    )
    head = f'[fleet]\n[[group]]\nname = "default"\nshards = {shards}\nstreams = {capacity}\n'
    path.write_text(head + rows)
    path.chmod(0o600)
    return path


def served_twice(windows: Sequence[Heard], slack_s: float = 0.5) -> list[tuple[str, str, str]]:
    """The streams that one shard went on with after another had begun to serve them: stream, shard, other shard.

    A shard that gets a stream anew counts its windows from 0. Within `slack_s` messages of two connections may cross.
    """
    found = []
    newest: dict[str, Heard] = {}  # of each stream
    last: dict[tuple[str, str], tuple[int, float]] = {}  # of stream and shard: the newest number, when the other began
    for one in sorted(windows, key=lambda one: one.at):
        before = newest.get(one.stream)
        if before is not None and before.node != one.node:
            number, _ = last[one.stream, before.node]
            last[one.stream, before.node] = number, one.at
            number, other_began = last.get((one.stream, one.node), (-1, one.at))
            if one.message["seq"] > number >= 0 and one.at - other_began > slack_s:
                found.append((one.stream, one.node, before.node))
        last[one.stream, one.node] = one.message["seq"], one.at
        newest[one.stream] = one
    return found


def ends_by_id(transitions: Sequence[Heard]) -> dict[str, tuple[int, list[str | None]]]:
    """Of each emotion, by its id: how often it was started, and the reason of each of its ends."""
    found: dict[str, tuple[int, list[str | None]]] = {}
    for one in transitions:
        starts, reasons = found.get(one.message["id"], (0, []))
        if one.message["event_type"] == "emotion_started":
            starts += 1
        else:
            reasons = [*reasons, one.message.get("reason")]
        found[one.message["id"]] = (starts, reasons)
    return found


class TwoNodes:
    """A Ray cluster of two nodes in a process of its own."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fleet.two_nodes"],
            env=dict(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        answer = self._answer()
        self.address, self.first = answer["address"], answer["first"]  # the first node's id
        self.dashboard = answer["dashboard"]  # host:port of Ray's own; empty: there is none

    def kill(self) -> None:
        """Kill the second node's raylet."""
        self._say("kill")

    def again(self) -> None:
        """Add another second node."""
        self._say("again")

    def close(self) -> None:
        """End both nodes."""
        everything = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait(10)
        for process in everything:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> dict[str, str]:
        assert self._process.stdout is not None
        for line in self._process.stdout:  # Ray prints, too
            if line.startswith("{"):
                answer: dict[str, str] = json.loads(line)
                return answer
        raise AssertionError("the cluster has ended")
