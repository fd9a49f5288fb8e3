"""Ray, as a fleet uses it: named actors that are restarted, few calls, and the store of its control plane.

No audio, no window and no transition passes through here.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayActorError, RayTaskError
from ray.experimental import internal_kv

from streamer.errors import StreamerError
from streamer.fleet.director import ShardGoneError
from streamer.fleet.table import DEFAULT_GROUP, GroupConfig
from streamer.plain_text import sentence

NAMESPACE = "streamer"
# Of a named actor that outlives who started it, and is started once and again by Ray.
LASTING: dict[str, Any] = {
    "namespace": NAMESPACE,
    "get_if_exists": True,
    "lifetime": "detached",
    "max_restarts": -1,
    "max_task_retries": 0,
}
GROUP_SHARE = 0.001  # of the resource `group:NAME`, for each shard
_STORE = b"streamer"
LEAST_STORE_MB = 80  # that Ray takes; nothing of a fleet lies there

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def connected(address: str | None, object_store_mb: int = LEAST_STORE_MB) -> Iterator[None]:
    """Be connected to the cluster at `address`; None: to one of this machine alone, which ends with the block.

    Raises:
        StreamerError: there is none, or it cannot be joined.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray will do by itself in a later version
    options: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": object_store_mb * 2**20,
        }
    else:
        options["address"] = address
    try:
        ray.init(**options)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        where = "on this machine" if address is None else f"at {address}"
        raise StreamerError(f"Ray cannot be reached {where}: {sentence(str(error).splitlines()[0])}") from None
    try:
        yield
    finally:
        ray.shutdown()


def store_get(key: str) -> str:
    """Return what is kept under `key` in the cluster's store; empty: nothing."""
    found: bytes | None = internal_kv._internal_kv_get(key.encode(), namespace=_STORE)
    return "" if found is None else found.decode()


def store_put(key: str, value: str) -> None:
    """Keep a value in the cluster's store; an empty one forgets the key."""
    if value:
        internal_kv._internal_kv_put(key.encode(), value.encode(), overwrite=True, namespace=_STORE)
    else:
        internal_kv._internal_kv_del(key.encode(), namespace=_STORE)


class RayCluster:
    """Implements `director.Cluster`.

    Args:
        shard: the actor class.
        parts: what a shard is made of.
        fleet: its name.
        tables: of the settings, without passwords.
    """

    def __init__(self, shard: Any, parts: object, fleet: str, tables: Mapping[str, Any]) -> None:
        self._shard, self._parts, self._fleet, self._tables = shard, parts, fleet, tables
        self._handles: dict[str, Any] = {}
        self._asked: dict[Hashable, None] = {}  # what has not been answered yet

    def start(self, shard: str, group: GroupConfig) -> None:
        """Start a shard, unless there is one of that name."""
        where = {} if group.name == DEFAULT_GROUP else {f"group:{group.name}": GROUP_SHARE}
        actor = self._shard.options(
            name=shard,
            **LASTING,
            max_concurrency=6,
            num_cpus=group.cpus,
            num_gpus=group.gpus,
            resources=where,
        )
        self._handles[shard] = actor.remote(self._parts, self._fleet, shard, group.name, self._tables, group.streams)

    def stop(self, shard: str, *, again: bool) -> None:
        """End a shard in order, within seconds."""
        handle = self._handles.get(shard)
        if handle is None:
            return
        threading.Thread(target=_end, args=(handle, again), name=f"end-{shard}", daemon=True).start()

    def ask(self, shard: str, what: str, *arguments: object) -> Hashable:
        """Call a method of a shard."""
        reference: Hashable = getattr(self._handles[shard], what).remote(*arguments)
        self._asked[reference] = None
        return reference

    def answers(self, within_s: float) -> list[tuple[Hashable, object]]:
        """Return the answers that have come."""
        references = list(self._asked)
        if not references:
            time.sleep(within_s)
            return []
        ray.wait(references, num_returns=1, timeout=within_s)
        ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
        for reference in ready:
            del self._asked[reference]
        return [(reference, _answer(reference)) for reference in ready]

    def nodes(self) -> frozenset[str]:
        """Return the ids of the nodes that Ray holds for alive."""
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call, unused-ignore]
        return frozenset(node["NodeID"] for node in nodes if node["Alive"])

    def get(self, key: str) -> str:
        """Return what the store has."""
        return store_get(key)

    def put(self, key: str, value: str) -> None:
        """Keep a value in the store."""
        store_put(key, value)


def _answer(reference: Any) -> object:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        cause = error.cause if isinstance(error.cause, Exception) else error
        return cause
    except RayActorError as error:
        return ShardGoneError(dead=isinstance(error, ActorDiedError))
    except Exception as error:  # whatever else Ray raises must not end the director
        return StreamerError(sentence(error))


def _end(handle: Any, again: bool) -> None:
    with contextlib.suppress(Exception):  # it may be dead already
        ray.get(handle.close.remote(), timeout=6.0)
    with contextlib.suppress(Exception):
        ray.kill(handle, no_restart=not again)
