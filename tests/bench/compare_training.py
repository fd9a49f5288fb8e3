"""Compare an epoch of training of this checkout and of an older one: wall time, processor time, validation figures.

    python -m tests.bench.compare_training OLDER_CHECKOUT CORPUS... --teacher FILE --work FOLDER --epochs 4

Both train by the README's recipe from `measured`, with one version of each clip, one after the other; the first epoch
comes after the features and is not timed. EXTRA_PATH holds packages that only the older checkout imports.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import psutil

THIS = Path(__file__).parents[2]
RECIPE = ("--start", "measured", "--seed", "20261130", "--patience", "0", "--encoder-learning-rate", "1.2e-3")
_EPOCH = re.compile(r"^epoch \d+ +loss ")  # and not the bar that shows how far it is


def train(checkout: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Train in a work folder of the checkout's own; return the median epoch and what was said of each."""
    work = arguments.work / checkout.name
    work.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([str(checkout), *filter(None, [os.environ.get("EXTRA_PATH")])])
    command = [
        sys.executable, "-m", "streamer", "train", *map(str, arguments.corpora), *RECIPE, "--versions", "1",
        "--epochs", str(arguments.epochs), "--teacher", str(arguments.teacher), "--work", str(work / "work"),
        "--output", str(work / "model.safetensors"),
    ]  # fmt: skip
    if arguments.epochs < 2:
        raise SystemExit("The first epoch is not timed; ask for 2 or more.")
    marks: list[tuple[float, float]] = []  # wall and processor seconds at the end of each epoch
    said: list[str] = []
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as program:
        watched = psutil.Process(program.pid)
        assert program.stdout is not None
        for line in program.stdout:
            if _EPOCH.match(line):
                times = watched.cpu_times()
                marks.append((time.monotonic(), times.user + times.system))
                said.append(line.strip())
                print(f"{checkout.name}: {line.strip()}", file=sys.stderr, flush=True)
            if len(marks) == arguments.epochs:
                program.kill()  # temperatures and tests are not compared
    walls, processor = ([later[kind] - earlier[kind] for earlier, later in pairwise(marks)] for kind in (0, 1))
    return {"wall_s": round(median(walls), 1), "processor_s": round(median(processor), 1), "epochs": said}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("older", type=Path)
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    arguments.work = arguments.work.resolve()
    arguments.teacher = arguments.teacher.resolve()
    older, this = (train(checkout, arguments) for checkout in (arguments.older.resolve(), THIS))
    ratio = {kind: round(float(str(this[kind])) / float(str(older[kind])), 3) for kind in ("wall_s", "processor_s")}
    print(json.dumps({"older": older, "this": this, "ratio": ratio}, indent=1))


if __name__ == "__main__":
    main()
