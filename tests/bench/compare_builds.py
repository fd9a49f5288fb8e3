"""Compare what this checkout and an older one take, hop by hop in turns on one pinned core.

    python -m tests.bench.compare_builds OLDER_CHECKOUT SPEECH.wav voice --streams 16

Each build runs in a process of its own. One hop of one of them is timed (CPU time of its thread) while the other waits,
so that both see the same machine. The older checkout may be commit b422b64, whose names are others.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

RATE = 24_000
HOP_FRAMES, WINDOW_FRAMES = 18, 225
HOP = HOP_FRAMES * 320
KINDS = ("voice", "hop", "silence", "mixed")
SILENCE_BEFORE = 45  # hops of noise before silence is timed
NOISE = 10 ** (-60 / 20)


def inputs(kind: str, speech: np.ndarray, streams: int, hops: int) -> list[list[np.ndarray]]:
    """Return each hop's audio for every stream."""
    rng = np.random.default_rng(0)

    def noise(count: int) -> np.ndarray:
        return (NOISE * rng.standard_normal(count)).astype(np.float32)

    rows = []
    for row in range(streams):
        begin = row * 7 * RATE % (len(speech) // 2)
        if kind == "silence":
            audio = noise(hops * HOP)
        elif kind == "mixed":  # 10 s of speech, 40 s of noise
            length = -(-hops * HOP // (50 * RATE))
            parts = [
                part
                for n in range(length)
                for part in (
                    np.take(speech, range(begin + n * 10 * RATE, begin + (n + 1) * 10 * RATE), mode="wrap"),
                    noise(40 * RATE),
                )
            ]
            audio = np.concatenate(parts)
        else:
            audio = np.take(speech, range(begin, begin + hops * HOP), mode="wrap")
        rows.append(audio.astype(np.float32))
    return [[audio[k * HOP : (k + 1) * HOP] for audio in rows] for k in range(hops)]


def step_of(kind: str, streams: int) -> Callable[[dict[int, np.ndarray]], object]:
    """Return what is timed, of the build that this process can import."""
    import torch

    torch.set_num_threads(1)
    try:
        from streamer.pipeline.inference import Inference, InferenceSettings
    except ImportError:
        from streamer.inference import Inference as Older

        from streamer.emotion.model import EmotionDetectionModel

        model = EmotionDetectionModel.from_checkpoint("bundled", 3.0)
        older = Older(model, streams, window_frames=WINDOW_FRAMES, hop_frames=HOP_FRAMES, min_speech=0.3)
        older.warm_up()
        return older._listen if kind == "voice" else older.hear
    from streamer.emotion.model import EmotionDetectionModel

    settings = InferenceSettings(WINDOW_FRAMES, HOP_FRAMES, min_speech=0.3, rest=kind != "voice")
    inference = Inference(EmotionDetectionModel.from_checkpoint("bundled", 3.0), streams, settings)
    inference.warm_up()
    if kind != "voice":
        return inference.step
    return inference._hearing.level if hasattr(inference, "_hearing") else inference._preprocess  # before hearing.py


def serve(kind: str, streams: int, hops: int, speech: Path) -> None:
    """Run one hop for every line on standard input, and print its milliseconds of CPU time."""
    audio = inputs(kind, np.load(speech), streams, hops)
    step = step_of(kind, streams)
    print("ready", flush=True)
    for hop in audio:
        if not sys.stdin.readline():
            return
        began = time.thread_time()
        step(dict(enumerate(hop)))
        print(1000 * (time.thread_time() - began), flush=True)


def start(checkout: Path, arguments: list[str], core: int) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(checkout), *filter(None, [os.environ.get("EXTRA_PATH")])])
    child = subprocess.Popen(
        ["taskset", "-c", str(core), sys.executable, __file__, "--serve", *arguments],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    while (line := child.stdout.readline()) != "ready\n":
        assert line, "it does not start"
    return child


def compare(older: Path, arguments: argparse.Namespace, speech: Path) -> dict[str, float]:
    this = Path(__file__).parents[2]
    hops, skipped = arguments.hops, SILENCE_BEFORE if arguments.kind == "silence" else 25
    common = [arguments.kind, str(arguments.streams), str(hops + skipped), str(speech)]
    children = [start(checkout, common, arguments.core) for checkout in (older, this)]
    times: list[list[float]] = [[], []]
    for k in range(hops + skipped):
        for which in (0, 1) if k % 2 else (1, 0):
            child = children[which]
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write("\n")
            child.stdin.flush()
            taken = float(child.stdout.readline())
            if k >= skipped:
                times[which].append(taken)
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
        child.wait()
    before, now = (np.mean(some) if arguments.kind == "mixed" else median(some) for some in times)
    return {"older_ms": round(before, 3), "this_ms": round(now, 3), "ratio": round(now / before, 3)}


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        kind, streams, hops, speech = sys.argv[2:]
        serve(kind, int(streams), int(hops), Path(speech))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("older", type=Path)
    parser.add_argument("speech", type=Path, help="a 24 kHz recording")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--hops", type=int, default=60)
    parser.add_argument("--core", type=int, default=1)
    arguments = parser.parse_args()
    import tempfile

    import soundfile

    audio, rate_hz = soundfile.read(arguments.speech, dtype="float32")
    assert rate_hz == RATE
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.npy"
        np.save(path, audio)
        print(
            json.dumps(
                {"kind": arguments.kind, "streams": arguments.streams, **compare(arguments.older, arguments, path)}
            )
        )


if __name__ == "__main__":
    main()
