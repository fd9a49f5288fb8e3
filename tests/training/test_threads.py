"""Work side by side, and the next item ahead of time."""

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch

from streamer.training.threads import ahead, alone, map_in_threads, workers


@pytest.mark.parametrize("count", [1, 2, 5])
def test_items_keep_their_order_and_torch_its_threads(count: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    assert map_in_threads(lambda item: item * 2, range(7)) == [0, 2, 4, 6, 8, 10, 12]
    assert torch.get_num_threads() == count
    torch.set_num_threads(before)


def test_torch_s_operations_have_one_thread_and_items_have_all() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    meeting = threading.Barrier(3, timeout=10)
    with alone():
        assert torch.get_num_threads() == 1
        map_in_threads(lambda item: meeting.wait(), range(3))  # they are there at once
        with alone():
            assert workers() == 3
    assert torch.get_num_threads() == workers() == 3
    torch.set_num_threads(before)


def test_what_fails_in_a_thread_fails_here() -> None:
    with pytest.raises(ZeroDivisionError):
        map_in_threads(lambda item: 1 // item, [1, 0, 2])


def test_the_next_item_is_made_while_this_one_is_used() -> None:
    made = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    seen = []
    for number in ahead(items()):
        if number + 1 < len(made):
            assert made[number + 1].wait(10)
        seen.append(number)
    assert seen == [0, 1, 2, 3]


def test_a_failing_source_fails_where_it_is_read() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("read no further")

    read = ahead(items())
    assert next(read) == 1
    with pytest.raises(ValueError, match="no further"):
        next(read)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_freed_memory_is_used_again_without_the_kernel() -> None:
    code = (
        "import resource, torch; from streamer.training.threads import keep_freed_memory; keep_freed_memory()\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def work():\n    for _ in range(20): torch.zeros(60_000_000 // 4).add_(1)\n"
        "work(); before = faults(); work(); print(faults() - before)"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(made.stdout) < 1000  # 14,600 pages an allocation otherwise
