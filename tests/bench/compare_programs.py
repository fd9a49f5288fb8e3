"""Compare what the whole program of this checkout and of an older one take: memory, or the time to the first window.

    python -m tests.bench.compare_programs OLDER_CHECKOUT SPEECH.wav memory --streams 1
    python -m tests.bench.compare_programs OLDER_CHECKOUT SPEECH.wav start --times 5

Both run `streamer run SPEECH.wav --headless --mqtt off`: for the memory side by side, to be read after a minute (the
resident size of the process tree); for the first window one after the other in turns, the first start not counted.
EXTRA_PATH holds packages that only the older checkout imports.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil

THIS = Path(__file__).parents[2]
SETTLED_S = 60.0


def run(checkout: Path, speech: Path, streams: int, folder: str) -> "subprocess.Popen[str]":
    """Start the program of `checkout` in a folder and with a home of its own."""
    home = Path(tempfile.mkdtemp(dir=folder))
    tables = "".join(f'[[stream]]\nname = "s{number}"\nsource = "{speech}"\n' for number in range(streams))
    (home / "config.toml").write_text(tables if streams > 1 else "")
    path = os.pathsep.join([str(checkout), *filter(None, [os.environ.get("EXTRA_PATH")])])
    source = [] if streams > 1 else [str(speech)]
    return subprocess.Popen(
        [sys.executable, "-m", "streamer", "run", *source, "--headless", "--mqtt", "off"],
        cwd=home, env={**os.environ, "PYTHONPATH": path, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def resident_mb(process: int) -> float:
    """Return the resident size of a process and its children."""
    root = psutil.Process(process)
    return float(sum(one.memory_info().rss for one in (root, *root.children(recursive=True))) / 1e6)


def memory(checkouts: list[Path], speech: Path, streams: int, folder: str) -> list[float]:
    """Return the resident size of each program after a minute, in MB."""
    programs = [run(checkout, speech, streams, folder) for checkout in checkouts]
    drains = [subprocess.Popen(["cat"], stdin=program.stdout, stdout=subprocess.DEVNULL) for program in programs]
    try:
        time.sleep(SETTLED_S)
        return [resident_mb(program.pid) for program in programs]
    finally:
        for program in programs:
            program.terminate()
            program.wait()
        for drain in drains:
            drain.wait()


def first_window_s(checkout: Path, speech: Path, folder: str) -> float:
    """Return the wall time from the start of the program to its first window."""
    began = time.monotonic()
    with run(checkout, speech, 1, folder) as program:
        assert program.stdout is not None
        found = any('"type":"window"' in line.replace(" ", "") for line in program.stdout)
        taken_s = time.monotonic() - began
        program.kill()
    assert found, f"{checkout} wrote no window"
    return taken_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("older", type=Path)
    parser.add_argument("speech", type=Path, help="a 24 kHz recording of more than a minute")
    parser.add_argument("kind", choices=("memory", "start"))
    parser.add_argument("--streams", type=int, default=1, help="for memory")
    parser.add_argument("--times", type=int, default=5, help="for start")
    arguments = parser.parse_args()
    checkouts, speech = [arguments.older.resolve(), THIS], arguments.speech.resolve()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.kind == "memory":
            before, now = memory(checkouts, speech, arguments.streams, folder)
            unit = "MB"
        else:
            turns = [[first_window_s(one, speech, folder) for one in checkouts] for _ in range(arguments.times + 1)]
            before, now = (median(times) for times in zip(*turns[1:], strict=True))
            unit = "s"
    ratio = round(now / before, 3)
    print(
        json.dumps(
            {"kind": arguments.kind, f"older_{unit}": round(before, 2), f"this_{unit}": round(now, 2), "ratio": ratio}
        )
    )


if __name__ == "__main__":
    main()
