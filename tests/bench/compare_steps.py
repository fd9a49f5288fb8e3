"""Compare the encoder's steps in this checkout, in an older one and in other engines, in turns, and print a table.

    taskset -c 1 python -m tests.bench.compare_steps OLDER_CHECKOUT [--repeats 6] [--only WORD ...]

Each checkout runs in a process of its own, with one thread; the other engines run in this checkout's. For each row all
take turns, five steps each, so that they see the same machine. Figures are medians in milliseconds of CPU time: what
other programs take does not count; what they do to caches and clock does, for all alike. The older checkout may be
commit b422b64.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
STEPS = 5  # timed in each turn
WARM_UPS = 2  # before those
ROWS = [
    {"streams": streams, "frames": frames, "precision": precision}
    for streams in (1, 16)
    for frames in (1, 18)
    for precision in ("float32", "bfloat16", "int8")
]
PEERS = ("onnxruntime", "openvino float32", "openvino bfloat16")  # timed beside float32


class Worker:
    """A checkout in a process of its own."""

    def __init__(self, checkout: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, "--serve"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout)},
        )  # fmt: skip

    def take_turn(self, engine: str, row: dict[str, Any]) -> list[float]:
        """Return the times of one turn in milliseconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"engine": engine, **row}), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit("A worker ended; its reason is above.")
        times: list[float] = json.loads(answer)
        return times

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(older: Path, repeats: int, only: list[str]) -> str:
    """Return the medians as a Markdown table."""
    headings = ("step", "before", "now", *PEERS, "now / before", "now / best in float32")
    lines = [f"| {' | '.join(headings)} |", "|---|" + "---:|" * (len(headings) - 1)]
    for row in ROWS:
        what = f"{row['precision']}, {1000 * row['frames'] / 75:.1f} ms, {row['streams']} streams"
        if not all(word in what for word in only):
            continue
        with ExitStack() as stack:
            before, now = (stack.enter_context(Worker(path)) for path in (older, CHECKOUT))
            peers = PEERS if row["precision"] == "float32" else ()
            turns = [("before", before, "streamer"), ("now", now, "streamer"), *((peer, now, peer) for peer in peers)]
            times: dict[str, list[float]] = {name: [] for name, _, _ in turns}
            for _ in range(repeats):
                for name, worker, engine in turns:
                    times[name] += worker.take_turn(engine, row)
        ms = {name: median(values) for name, values in times.items()}
        exact = [ms[peer] for peer in peers if "bfloat16" not in peer]
        figures = [f"{ms[name]:.2f}" if name in ms else "" for name in ("before", "now", *PEERS)]
        ratios = [f"{ms['now'] / ms['before']:.2f}", f"{ms['now'] / min(exact):.2f}" if exact else ""]
        lines.append(f"| {' | '.join((what, *figures, *ratios))} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def serve() -> None:
    """Take the turns that standard input asks for, in the checkout of the working directory."""
    import torch

    torch.set_num_threads(1)
    engines: dict[str, Callable[[], object]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        engine = request["engine"]
        if engine not in engines:
            engines[engine] = make(**request)
        step = engines[engine]
        for _ in range(WARM_UPS):
            step()
        times = []
        for _ in range(STEPS):
            begin = time.process_time()
            step()
            times.append(1000 * (time.process_time() - begin))
        print(json.dumps(times), flush=True)


def make(engine: str, streams: int, frames: int, precision: str) -> Callable[[], object]:
    """Return a call that runs one step, with random weights that float16 holds, like those of shipped checkpoints."""
    import torch

    from streamer.codec import Encoder, StreamingEncoder

    torch.manual_seed(3)
    encoder = Encoder().half().float().eval().requires_grad_(False)
    chunks = 0.1 * torch.randn(streams, 1, frames * 320)
    if engine != "streamer":
        from streamer.bench.engines import find_engines

        (found,) = (one for one in find_engines().steps if one.name == engine)
        return found.make(encoder, chunks, 1)
    encoder.precision = precision
    streaming = StreamingEncoder(encoder, streams)
    streaming.step(0.1 * torch.randn(streams, 1, 2240))
    return lambda: streaming.step(chunks)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Compare the encoder's steps in two checkouts and in other engines.")
    parser.add_argument("older", type=Path, nargs="?", help="checkout of the build to compare with")
    parser.add_argument("--repeats", type=int, default=6, help="turns of five steps for each row")
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="rows that have all these words")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
    elif options.older is None:
        parser.error("name the checkout of the build to compare with")
    else:
        print(compare(options.older.resolve(), options.repeats, options.only))


if __name__ == "__main__":
    main()
