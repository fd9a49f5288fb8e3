"""Load the checkpoint on its device, and time a step against the hop."""

import platform
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch

from streamer.commands.checks.finding import Finding, Verdict
from streamer.constants import FRAME_SAMPLES
from streamer.pipeline.build import build_inference, stream_settings
from streamer.settings import Settings

STEPS = 12
BUSY = 0.7  # of the hop: the rest is needed by the screen, the broker and other programs


def check_model(settings: Settings) -> Iterator[Finding]:
    """Yield what is loaded and where, then how long a step takes."""
    rows = max(1, len(settings.stream))
    inference = build_inference(settings, rows)
    stream_settings(settings, inference.model)  # refuses thresholds that contradict each other
    card = inference.model.card
    assert card is not None, "loaded from a checkpoint"
    yield Finding("model", "ok", f"{card.name}: {', '.join(card.labels)}")
    device = inference.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    yield Finding("compute", "ok", f"torch {torch.__version__} on {device} ({name})")
    samples = settings.window.hop_frames * FRAME_SAMPLES
    noise = np.random.default_rng(0).normal(scale=0.05, size=samples).astype(np.float32)
    times_s = []
    for _ in range(STEPS):
        begun_s = time.perf_counter()
        inference.step(dict.fromkeys(range(rows), noise))
        times_s.append(time.perf_counter() - begun_s)
    yield _speed(statistics.median(times_s), settings.window.hop_s, rows)


def _speed(step_s: float, hop_s: float, rows: int) -> Finding:
    share = step_s / hop_s
    verdict: Verdict = "bad" if share > 1 else "note" if share > BUSY else "ok"
    streams = "1 stream" if rows == 1 else f"{rows} streams"
    text = f"a step of {streams} takes {1000 * step_s:.0f} ms of a hop of {1000 * hop_s:.0f} ms ({share:.0%})"
    cure = 'take a longer window.hop_s, fewer streams, model.precision = "int8", or a GPU'
    words = {"ok": "", "note": f", which leaves little for the rest: {cure}", "bad": f": it cannot keep up; {cure}"}
    return Finding("speed", verdict, f"{text}{words[verdict]}.")
