"""Corpora on a Ray cluster: pieces of work handed to actors that hold a model, their answers as they come.

Ray Data places the actors, hands out the work as they finish theirs, so that memory stays flat, and gives what a dead
actor had to another. Only names and summaries travel.
"""

import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import ray
import ray.data

MAX_RETRIES = 2  # of a piece of work whose process died
MOST_TASKS = 2_000  # of Ray Data's; each holds several pieces where there are more

Work = TypeVar("Work")
Answer = TypeVar("Answer")


def spread(work: Sequence[Work], make: Callable[[], Callable[[Work], Answer]], threads: int = 1) -> Iterator[Answer]:
    """Yield the answers to `work`, in the order in which they come.

    A piece whose process dies again and again has none.

    Args:
        work: can be pickled.
        make: makes, once in each process, what answers; a function of a module, or a partial of one.
        threads: of the CPU, that each process uses.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1  # what ends each process that reads it is no reason to end all
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call, unused-ignore]
    needed: dict[str, Any] = {"num_gpus": 1} if there.get("GPU") else {"num_cpus": threads}
    processes = int(there.get("GPU") or there.get("CPU", 1) // threads)
    pieces = [{"work": pickle.dumps(piece)} for piece in work]
    dataset = ray.data.from_items(pieces, override_num_blocks=max(1, min(len(pieces), MOST_TASKS)))
    with warnings.catch_warnings():
        # Ray 2.64 is to take no `max_task_retries`, and tries for ever without it; so the extra ends before it.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        answers = dataset.map_batches(
            _Process,
            fn_constructor_args=(make,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=max(1, min(processes, len(pieces)))),
            max_task_retries=MAX_RETRIES,
            **needed,
        )
    for row in answers.iter_rows():
        yield pickle.loads(row["answer"])


class _Process:
    """What runs in an actor."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._answer = make()

    def __call__(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {"answer": [pickle.dumps(self._answer(pickle.loads(work))) for work in given["work"]]}
