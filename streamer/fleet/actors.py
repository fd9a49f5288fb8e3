"""The two kinds of actors of a fleet, and the calls to its director. No audio, window or transition passes through."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError

from streamer.errors import StreamerError
from streamer.fleet.cluster import GROUP_SHARE, LASTING, NAMESPACE, RayCluster, store_get
from streamer.fleet.director import Director
from streamer.fleet.leases import Lease, Report
from streamer.fleet.shard import Parts, Place, ShardHost, shard_settings
from streamer.fleet.status import FleetStatus

STOP_S = 5.0  # for the director to stop giving orders
HEAD = "node:__internal_head__"  # a resource that Ray gives its head node

logger = logging.getLogger(__name__)


def director_name(fleet: str) -> str:
    """Return the name of a fleet's director."""
    return f"{fleet}-director"


class ShardActor:
    """A shard in a process of its own, which Ray starts again when it dies.

    Args:
        parts: what it is made of.
        fleet, shard, group: its names.
        tables: of the settings, without passwords.
        capacity: streams that it can serve; 0: as measured on this node before, or now.
    """

    def __init__(
        self, parts: Parts, fleet: str, shard: str, group: str, tables: Mapping[str, Any], capacity: int
    ) -> None:
        node = ray.get_runtime_context().get_node_id()
        known_node, _, known = store_get(f"{fleet}/capacity/{shard}").partition(" ")
        if not capacity and known_node == node:
            capacity = int(known)
        self._host: ShardHost | None = None
        self._failure: StreamerError | None = None
        place = Place(shard, group, node, socket.gethostname())
        try:
            settings = shard_settings(tables)
            self._host = ShardHost(parts, place, settings, partial(_is_fenced, fleet), capacity)
        except StreamerError as error:  # an actor that cannot be made would not be started again
            self._failure = error

    def report(self, generation: int) -> Report | None:
        """Return the state; None while it starts."""
        return self._get().report(generation)

    def serve(self, generation: int, leases: list[Lease]) -> dict[str, str]:
        """Serve streams; return why some cannot be."""
        return self._get().serve(generation, leases)

    def release(self, generation: int, streams: dict[str, tuple[int, int]]) -> tuple[str, ...]:
        """End streams; return those that have ended."""
        return self._get().release(generation, streams)

    def close(self) -> None:
        """End all streams in order."""
        if self._host is not None:
            self._host.close()

    def _get(self) -> ShardHost:
        if self._host is None:
            raise self._failure or StreamerError("The shard does not run.")
        return self._host


class DirectorActor:
    """The director in a process of its own, which Ray starts again when it dies.

    Args:
        parts: what its shards are made of.
        fleet: its name.
        table: path of the table, on the node where this runs.
        tables: of the settings, without passwords.
    """

    def __init__(self, parts: Parts, fleet: str, table: str, tables: Mapping[str, Any]) -> None:
        cluster = RayCluster(ray.remote(ShardActor), parts, fleet, tables)
        self._director = Director(fleet, Path(table), cluster)
        self._stop = threading.Event()
        self._lock = threading.Lock()  # held during a round
        threading.Thread(target=self._run, name="director", daemon=True).start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._lock:
                    self._director.tick()
            except Exception:
                self._director.errors += 1
                logger.exception("A defect ended a round of the director; it goes on.")
                time.sleep(1.0)

    def status(self) -> FleetStatus:
        """Return what is known now."""
        with self._lock:
            return self._director.status()

    def drain(self, node: str, undo: bool) -> bool:
        """Empty the shards on a node, or end that; return whether any shard is there."""
        with self._lock:
            return self._director.drain(node, undo)

    def restart(self) -> None:
        """Restart all shards, one after the other."""
        with self._lock:
            self._director.restart()

    def stop(self) -> list[str]:
        """End the rounds; return the shards, which the caller ends."""
        self._stop.set()
        with self._lock:
            return self._director.stop()


def _is_fenced(fleet: str, incarnation: str) -> bool:
    return bool(store_get(f"{fleet}/fence/{incarnation}"))


def start_director(parts: Parts, fleet: str, table: Path, tables: Mapping[str, Any]) -> Any:
    """Start the director of a fleet on the head node, or return the one that runs."""
    return (
        ray.remote(DirectorActor)
        .options(
            name=director_name(fleet),
            **LASTING,
            max_concurrency=4,
            num_cpus=0,
            resources={HEAD: GROUP_SHARE},
        )
        .remote(parts, fleet, str(table), dict(tables))
    )


def find_director(fleet: str) -> Any:
    """Return the director of a fleet.

    Raises:
        StreamerError: there is none.
    """
    try:
        return ray.get_actor(director_name(fleet), namespace=NAMESPACE)
    except ValueError:
        raise StreamerError(
            f"No fleet named {fleet!r} runs on this cluster; start it with `streamer fleet run`, or give --name."
        ) from None


def ask_director(director: Any, what: str, *arguments: object, patience_s: float = 30.0) -> Any:
    """Call a method of the director, again and again while it is being restarted.

    Raises:
        StreamerError: it does not answer for `patience_s`.
    """
    end = time.monotonic() + patience_s
    while True:
        try:
            return ray.get(getattr(director, what).remote(*arguments), timeout=max(1.0, end - time.monotonic()))
        except (RayActorError, GetTimeoutError):
            if time.monotonic() >= end:
                raise StreamerError("The director does not answer; look at the cluster with `ray status`.") from None
            time.sleep(0.3)


def stop_fleet(fleet: str, director: Any) -> None:
    """End the shards of a fleet in order, and its director."""
    shards: list[str] = ask_director(director, "stop", patience_s=STOP_S)
    handles = []
    for shard in shards:
        with contextlib.suppress(ValueError):
            handles.append(ray.get_actor(shard, namespace=NAMESPACE))
    with contextlib.suppress(Exception):  # those that do not answer are killed below
        ray.get([handle.close.remote() for handle in handles], timeout=8.0)
    for handle in (*handles, director):
        ray.kill(handle)
