"""What loading needed is given back, and nothing else."""

import contextlib
import gc
import subprocess
import sys

import pytest

from streamer.pipeline.memory import _code, uncollected

LIBRARY = """7f0000000000-7f0000400000 {rights} 00000000 fe:00 1234    {path}
Size:               4096 kB
Rss:                1024 kB
Anonymous:         {changed:5} kB
VmFlags: rd ex mr mw me
"""


def mapping(rights: str = "r-xp", path: str = "/lib/libtorch_cpu.so", changed: int = 0) -> str:
    return LIBRARY.format(rights=rights, path=path, changed=changed)


def test_code_of_a_library_is_found() -> None:
    assert list(_code(mapping() + mapping("r--p") + mapping())) == [(0x7F0000000000, 0x7F0000400000)] * 2


@pytest.mark.parametrize(
    "other",
    [
        mapping("rw-p"),
        mapping("rwxp"),
        mapping("r--p"),
        mapping(path="[vdso]"),
        mapping(path=""),
        mapping(changed=4),  # a breakpoint, say
        mapping().replace("7f0000400000", "7f0000001000"),
    ],
)
def test_what_would_be_lost_or_is_no_librarys_code_stays(other: str) -> None:
    assert list(_code(other)) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is given back")
def test_torch_computes_the_same_after_its_code_was_given_back() -> None:
    script = """
import psutil, torch
from streamer.pipeline.memory import return_memory
x = torch.linspace(-1, 1, 300_000).view(500, 600)
def step():
    return torch.nn.functional.conv1d((x @ x.t()).relu()[None], x[:, :3][:, None].expand(-1, 500, -1)).sum().item()
before, held = step(), psutil.Process().memory_info().rss
return_memory()
print(held - psutil.Process().memory_info().rss > 30e6, step() == before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="its size is read from /proc")
def test_ever_other_numbers_of_rows_do_not_fill_the_memory() -> None:
    script = """
import psutil, torch
from streamer.codec.cpu import pack
from streamer.pipeline.memory import return_freed_memory
torch.set_num_threads(1)
weight = torch.ones(512, 2048)
product = pack.product(weight, weight[:, 0])
def multiply(first):
    for rows in range(first, first + 60):
        product(torch.ones(rows, 2048))
    return_freed_memory()
    return psutil.Process().memory_info().rss
before = multiply(20) and multiply(80)
print(multiply(140) - before < 9e6)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is given back")
def test_what_waited_for_a_broker_does_not_stay_the_size_of_the_process() -> None:
    script = """
import threading, psutil
from streamer.pipeline.memory import return_freed_memory
kept = []
def queue_and_send():  # what stays in between keeps the heap from shrinking by itself
    messages = [b"%0700d" % number for number in range(60_000)]
    kept.extend(messages[::1000])
threads = [threading.Thread(target=queue_and_send) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
held = psutil.Process().memory_info().rss
return_freed_memory()
print(held - psutil.Process().memory_info().rss > 40e6, len(kept))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "120"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is mapped apart")
def test_what_is_freed_while_loading_leaves_no_holes_and_steps_do_not_map_what_they_take() -> None:
    script = """
import psutil
from streamer.pipeline.memory import weights_apart
bytes(6_000_000)  # from then on glibc has as much on its heap
resident = lambda: psutil.Process().memory_info().rss
with weights_apart():
    before = resident()
    pairs = [(bytearray(b"1") * 4_000_000, bytearray(b"1") * 1_500_000) for _ in range(8)]
    kept = [packed for plain, packed in pairs]
    del pairs
    print(resident() - before < 8 * 1.6e6)
mapped = len(psutil.Process().memory_maps(grouped=False))
steps = [bytearray(2_000_000) for _ in range(8)]
print(len(psutil.Process().memory_maps(grouped=False)) - mapped < 4)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_garbage_is_collected_again_afterwards_even_where_loading_fails() -> None:
    assert gc.isenabled()
    seen = []
    with contextlib.suppress(OSError), uncollected():
        seen.append(gc.isenabled())
        raise OSError("no such library")
    assert (seen, gc.isenabled()) == ([False], True)
