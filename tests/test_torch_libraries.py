"""Torch's libraries are loaded while other threads run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no dlopen")

# A library that is a named pipe takes as long to load as nobody writes into it.
LOADS_WHILE_ANOTHER_THREAD_RUNS = """
import os, sys, threading
from pathlib import Path
from streamer.torch_libraries import open_library

results = []
thread = threading.Thread(target=lambda: results.append(open_library(Path(sys.argv[1]), os.RTLD_LOCAL)))
thread.start()
with open(sys.argv[1], "wb") as writer:
    writer.write(b"no library")
thread.join()
print(results)
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_other_threads_run_while_a_library_is_loaded(tmp_path: Path) -> None:
    library = tmp_path / "libslow.so"
    os.mkfifo(library)
    assert run(LOADS_WHILE_ANOTHER_THREAD_RUNS, str(library)) == "[False]"


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the program's memory map")
def test_afterwards_they_are_there_and_torch_works() -> None:
    shown = run(
        "import sys; from streamer.torch_libraries import load_torch_libraries as load; load()\n"
        "print('libtorch_cpu' in open('/proc/self/maps').read(), 'torch' in sys.modules)\n"
        "import torch; print(torch.ones(3).sum().item()); load()"
    )
    assert shown.split() == ["True", "False", "3.0"]


def test_without_torch_nothing_happens() -> None:
    code = "import sys, streamer.torch_libraries as t; t.find_spec = lambda name: None; t.load_torch_libraries()"
    assert run(code) == ""
