"""Small recordings, models and a progress recorder for the tests."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import torch

from streamer.analysis.embedding_model import EmbeddingModel, load_embedding_model
from streamer.audio.level import LEVEL_VERSION
from streamer.emotion import EmotionDetectionModel, save_checkpoint
from streamer.emotion.card import Calibration, CheckpointCard

torch.set_num_threads(1)  # small tensors: more threads would only wait for each other
_FOLDER = tempfile.TemporaryDirectory()  # removed when the tests end


@cache
def checkpoint() -> Path:
    """A checkpoint with random weights."""
    torch.manual_seed(0)
    model = EmotionDetectionModel()
    card = CheckpointCard(
        name="random",
        labels=model.labels,
        sample_rate_hz=24_000,
        level_version=LEVEL_VERSION,
        level_target_rms=0.05,
        window_s=3.0,
        hop_s=0.24,
        calibrations=(Calibration(3.0, 1.0, 0.5),),
        training_data=(),
        accuracy=(),
        licence="MIT",
        notes="",
    )
    path = Path(_FOLDER.name) / "random.safetensors"
    save_checkpoint(path, model.state_dict(), card)
    return path


@cache
def model() -> EmbeddingModel:
    """The same weights. Do not change them."""
    return load_embedding_model(str(checkpoint()))


def sound(seconds: float, seed: int = 0, rate: int = 24_000, channels: int = 1) -> np.ndarray:
    """`[n, channels]` noise with a spectrum that depends on the seed."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(round(seconds * rate), channels)) * 0.05
    return np.cumsum(noise - 0.3 * np.roll(noise, 1 + seed % 5, axis=0), axis=0).clip(-1, 1).astype(np.float32)


def write(path: Path, seconds: float, seed: int = 0, rate: int = 24_000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound(seconds, seed, rate, channels), rate)
    return path


class Watcher:
    """Records the reported progress."""

    def __init__(self) -> None:
        self.total = self.done = 0.0
        self.steps: list[float] = []

    def begin(self, seconds: float) -> None:
        self.total = seconds

    def advance(self, seconds: float) -> None:
        self.done += seconds
        self.steps.append(seconds)
