"""Compare how many streams this checkout and an older one serve where each has speech for a share of the time.

    taskset -c 1 python -m tests.bench.compare_streams OLDER_CHECKOUT [--speech 0.2] [--before N ...] [--now N ...]

Both run the whole inference with their own bundled model on the same audio, one number of streams after the other, each
in a process of its own, until one is too large. The clock is that of `streamer bench --streams --speech`, moved by CPU
time instead of wall time: what other programs take does not count. The older checkout may be commit b422b64, whose
names are others.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parents[2]
HOP_FRAMES, WINDOW_FRAMES = 18, 225
STEPS = 100


def holds(checkout: Path, streams: int, speech: float) -> bool:
    """Return whether the checkout serves so many streams in real time, and print how late its results are."""
    from streamer.bench.conversation import LATE_HOPS, follow, make_conversation
    from streamer.bench.figures import percentile

    conversation = make_conversation(streams, speech)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "conversation.npz"
        np.savez(file, audio=conversation.audio, offsets=conversation.offsets)
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, "--serve", str(file)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout)},
        ) as worker:  # fmt: skip
            assert worker.stdin is not None
            assert worker.stdout is not None

            def step(first: int, count: int) -> float:
                print(first, count, file=worker.stdin, flush=True)
                return float(worker.stdout.readline())  # type: ignore[union-attr]

            delays = follow(step, HOP_FRAMES, STEPS, late=STEPS // 100)
            worker.stdin.close()
    late_ms = percentile(delays.result_ms, 0.99)
    passed = not delays.behind and late_ms < LATE_HOPS * 1000 * HOP_FRAMES / 75
    mean_ms = sum(delays.step_ms) / len(delays.step_ms)
    print(
        f"{checkout.name}, {streams} streams: step {mean_ms:.0f} ms, results {late_ms:.0f} ms: {passed}",
        file=sys.stderr,
    )
    return passed


def serve(file: str) -> None:
    """Take the hops that standard input asks for, in the checkout of the working directory."""
    import torch

    from streamer.emotion.model import EmotionDetectionModel

    torch.set_num_threads(1)
    stored = np.load(file)
    audio, offsets = stored["audio"], stored["offsets"].tolist()
    model = EmotionDetectionModel.from_checkpoint("bundled", 3.0)
    try:
        from streamer.pipeline.inference import Inference, InferenceSettings
    except ImportError:  # commit b422b64
        from streamer.inference import Inference

        inference = Inference(model, len(offsets), window_frames=WINDOW_FRAMES, hop_frames=HOP_FRAMES, min_speech=0.3)
        run = inference.hear
    else:
        settings = InferenceSettings(WINDOW_FRAMES, HOP_FRAMES, min_speech=0.3, rest=True)
        inference = Inference(model, len(offsets), settings)
        run = inference.step
    inference.warm_up()
    hop = HOP_FRAMES * 320
    for line in sys.stdin:
        first, count = map(int, line.split())
        places = first * hop + np.arange(count * hop)
        hops = {row: audio[(offset + places) % len(audio)] for row, offset in enumerate(offsets)}
        begin = time.process_time()
        run(hops)
        print(json.dumps(1000 * (time.process_time() - begin)), flush=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Compare how many streams two checkouts serve.")
    parser.add_argument("older", type=Path, nargs="?", help="checkout of the build to compare with")
    parser.add_argument("--speech", type=float, default=0.2, help="share of the time with speech")
    parser.add_argument(
        "--before", type=int, nargs="+", default=[18, 20, 22, 24, 26], help="streams to try in the older"
    )
    parser.add_argument(
        "--now", type=int, nargs="+", default=[45, 50, 55, 60, 65, 70], help="streams to try in this one"
    )
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    if options.older is None:
        parser.error("name the checkout of the build to compare with")
    most = {}
    for name, checkout, numbers in (
        ("before", options.older.resolve(), options.before),
        ("now", CHECKOUT, options.now),
    ):
        most[name] = 0
        for streams in sorted(numbers):
            if not holds(checkout, streams, options.speech):
                break
            most[name] = streams
    ratio = most["now"] / most["before"] if most["before"] else float("nan")
    what = f"streams, each with speech {options.speech:g} of the time"
    print(f"| {what} | {most['before']} | {most['now']} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
