"""One shard: today's `Monitor` that serves the streams it has leases for. Without Ray, which only carries the calls."""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import psutil

from streamer.errors import StreamerError
from streamer.fleet.gate import Gate
from streamer.fleet.leases import Epoch, Lease, Report
from streamer.fleet.table import StreamRow
from streamer.fleet.tenure import Tenure
from streamer.plain_text import sentence
from streamer.publish.inheritance import Inheritance
from streamer.publish.mqtt import MqttPublisher
from streamer.publish.open import metrics_listen, mqtt_settings
from streamer.publish.publisher import Publisher
from streamer.settings import Settings
from streamer.sources.open import SourceOptions, SourceSpec, open_source, parse_source
from streamer.sources.source import Source

if TYPE_CHECKING:  # it loads prometheus_client, which is an extra
    from streamer.publish.metrics_server import MetricsServer

PASSWORD_VARIABLE = "STREAMER_MQTT__PASSWORD"  # as for `streamer run`, on each node
GONE_S = 3.0  # for the worker to end a stream

IsFenced = Callable[[str], bool]  # of an incarnation; raises where nobody can tell

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Which shard this is, and where."""

    shard: str
    group: str
    node: str  # Ray's id of it
    host: str


class Streams(Protocol):
    """What a shard needs of a monitor."""

    failure: Exception | None
    ended: threading.Event

    @property
    def idle_s(self) -> float | None:
        """None until the worker runs."""
        ...

    @property
    def source_options(self) -> SourceOptions:
        """How a source is opened."""
        ...

    def publish_to(self, publisher: Publisher) -> None:
        """Hand all events to a publisher."""
        ...

    def start(self) -> None:
        """Start; return at once."""
        ...

    def stop(self) -> None:
        """Stop everything."""
        ...

    def add(self, source: str | SourceSpec | Source) -> str:
        """Serve one more stream."""
        ...

    def remove(self, stream: str) -> None:
        """End a stream."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What a shard is made of; functions of modules, for they travel to its process by name."""

    monitor: Callable[[Settings], Streams]  # one that goes on without streams
    capacity: Callable[[Settings], int]  # measures how many streams this process serves in real time


class ShardHost:
    """Serves what it is told to. For any thread.

    Args:
        parts: a monitor, and how its capacity is measured.
        place: of the shard.
        settings: as of config.toml. The broker's password comes from this node's environment or its password file.
        is_fenced: asks the cluster's store.
        capacity: streams that it can serve; 0: it is measured before anything is served.

    Raises:
        StreamerError: the broker, the metrics or the model cannot be used.
    """

    def __init__(self, parts: Parts, place: Place, settings: Settings, is_fenced: IsFenced, capacity: int = 0) -> None:
        self._parts, self._place, self._settings, self._is_fenced = parts, place, settings, is_fenced
        self.tenure = Tenure()
        self._lock = threading.Lock()  # held while streams come and go
        self._held: Mapping[str, Epoch] = {}  # replaced as a whole, since reports do not wait for the lock
        self._generation = 0
        self._capacity = capacity
        self._closing = threading.Event()
        self._resources = ExitStack()
        self._mqtt, self._heir = _broker(place, settings)
        self._metrics = _metrics(settings, self._mqtt)
        publishers: list[Publisher] = [one for one in (self._mqtt, self._metrics) if one is not None]
        self._gate = Gate(tuple(publishers), lambda: self.tenure.holds)
        self._monitor = parts.monitor(settings)
        self._monitor.publish_to(self._gate)
        self._process = psutil.Process()
        self._ready = threading.Event()
        threading.Thread(target=self._begin, name="shard", daemon=True).start()

    def report(self, generation: int) -> Report | None:
        """Return the state, and be renewed; None while the model is loaded and the capacity measured.

        Raises:
            StaleDirectorError: a later director was heard.
            StreamerError: the monitor has failed.
        """
        self._check(generation)
        self.tenure.renew()
        if self._monitor.failure is not None:
            raise StreamerError(sentence(self._monitor.failure))
        if not self._ready.is_set():
            return None
        health, held = self._gate.health(), self._held
        stats = self._gate.stats()
        return Report(
            self._place.shard, self._place.group, self.tenure.incarnation, self._place.node, self._place.host,
            self._capacity, dict(held),
            behind=frozenset(name for name, one in health.items() if one.status == "behind"),
            figures=self._figures(),
            streams={name: (health[name].status if name in health else "starting", "") for name in held},
            metrics=self._metrics.url if self._metrics is not None else "",
            broker=stats.detail,
        )  # fmt: skip

    def serve(self, generation: int, leases: Sequence[Lease]) -> dict[str, str]:
        """Serve streams; return why some cannot be, by name."""
        self._check(generation)
        refused: dict[str, str] = {}
        orphaned = []
        with self._lock:
            if not self.tenure.holds:
                return {lease.row.name: "its shard was fenced" for lease in leases}
            for lease in leases:
                name = lease.row.name
                if name in self._held:
                    self._end([name])
                try:
                    self._open(lease.row)
                except (StreamerError, OSError) as error:
                    refused[name] = sentence(error)
                    continue
                self._held = {**self._held, name: lease.epoch}
                if lease.orphaned:
                    orphaned.append(name)
        if self._heir is not None:
            self._heir.take(orphaned)
        return refused

    def release(self, generation: int, streams: Mapping[str, Epoch]) -> tuple[str, ...]:
        """End streams whose leases are over; return those that are not served here any more."""
        self._check(generation)
        with self._lock:
            ours = [name for name, epoch in streams.items() if self._held.get(name) == epoch]
            self._end(ours)
            running = self._gate.roster
            return tuple(name for name in streams if name not in self._held and name not in running)

    def close(self) -> None:
        """End everything in order. Safe to call twice."""
        self._closing.set()
        self._monitor.stop()
        if self._heir is not None:
            self._heir.close()
        self._resources.close()

    def _check(self, generation: int) -> None:
        if generation < self._generation:
            raise StaleDirectorError(f"A later director than that of generation {generation} gives the orders.")
        self._generation = generation

    def _begin(self) -> None:
        """Measure the capacity where it is not known, start, and watch the tenure until closed."""
        try:
            if not self._capacity:
                self._capacity = self._parts.capacity(self._settings)
            self._monitor.start()
            if self._heir is not None:
                self._heir.start()
            while self._monitor.idle_s is None and not self._monitor.ended.wait(0.05):
                self.tenure.begin()
        except Exception as error:
            self._monitor.failure = error
            return
        self.tenure.begin()
        self._ready.set()
        while not self._closing.wait(0.2):
            self._keep_tenure()

    def _keep_tenure(self) -> None:
        """Look at the store where the director is silent; stop everything once the tenure is over."""
        if not self.tenure.wants_proof:
            return
        asked_at, fenced = self.tenure.now(), False
        try:
            fenced = self._is_fenced(self.tenure.incarnation)
        except Exception:  # whatever Ray raises: nobody can tell
            logger.debug("The store does not answer.", exc_info=True)
        else:
            if not fenced:
                self.tenure.renew(asked_at)
        if fenced or not self.tenure.holds:
            logger.warning("This shard was fenced, or nobody can tell: its streams are served by others.")
            with self._lock:
                self._end(list(self._held))
            self._gate.counts["fenced"] += 1
            self.tenure.begin()

    def _open(self, row: StreamRow) -> None:
        options = replace(
            self._monitor.source_options,
            channel=row.channel if isinstance(row.channel, int) else None,
            password_file=row.source_password_file,
            loop=True,
        )
        source = open_source(parse_source(row.source.get_secret_value()), options, name=row.name)
        self._monitor.add(source)

    def _end(self, names: list[str]) -> None:
        """End streams, and wait until the worker has."""
        self._held = {name: epoch for name, epoch in self._held.items() if name not in names}
        for name in names:
            self._monitor.remove(name)
        self._gate.wait_until_gone(frozenset(names), GONE_S)

    def _figures(self) -> dict[str, float]:
        memory = self._process.memory_info().rss
        cpu = self._process.cpu_times()
        return {
            "pid": float(self._process.pid),
            "cpu_s": cpu.user + cpu.system,
            "memory_mb": memory / 2**20,
            "windows": float(self._gate.counts["windows"]),
            "dropped_events": float(self._gate.counts["dropped"]),
            "fenced": float(self._gate.counts["fenced"]),
            "emotions_inherited": float(self._heir.ended if self._heir is not None else 0),
            "time": time.time(),
        }


class StaleDirectorError(StreamerError):
    """The caller is not the director any more."""


def shard_settings(tables: Mapping[str, Any]) -> Settings:
    """Return the settings that the director sent, with the password of this node's environment."""
    settings = Settings(**tables)
    password = os.environ.get(PASSWORD_VARIABLE)
    if not password:
        return settings
    mqtt = type(settings.mqtt)(**{**settings.mqtt.model_dump(mode="json", exclude={"password"}), "password": password})
    return settings.model_copy(update={"mqtt": mqtt})


def _broker(place: Place, settings: Settings) -> tuple[MqttPublisher | None, Inheritance | None]:
    if settings.mqtt.url == "off":
        return None, None
    table = settings.mqtt.model_copy(update={"node": place.shard})
    known = replace(mqtt_settings(table, table.url), succession=True)
    publisher = MqttPublisher(known)
    return publisher, Inheritance(known, publisher.open_on)


def _metrics(settings: Settings, mqtt: MqttPublisher | None) -> "MetricsServer | None":
    listen = metrics_listen(settings.metrics)
    if listen is None:
        return None
    from streamer.publish.metrics_server import MetricsServer

    # Several shards share a machine, so each takes a free port; `fleet status --prometheus` prints them.
    return MetricsServer(replace(listen, port=0), mqtt.stats if mqtt else None)
