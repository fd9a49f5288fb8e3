"""Data and models that the tests of several modules share; each is made once."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile

from streamer.constants import SAMPLE_RATE
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.corpus import Clip, Corpus, read_corpora
from streamer.decoding.files import read_whole
from streamer.emotion.checkpoint import load_checkpoint
from streamer.evaluation.evaluate import evaluate
from streamer.evaluation.options import EvaluationOptions
from streamer.evaluation.results import Evaluation
from streamer.evaluation.through_worker import WorkerHarness
from streamer.sources.demo import DEMO
from streamer.training import predict
from tests.support.training_corpus import write_corpus

SEED = 1


@pytest.fixture(scope="session", autouse=True)
def small_batches() -> Iterator[None]:
    """The tests encode two to eight clips at once: a batch of 16 rows would mostly encode silence."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "_BATCH", 2)
        yield


def silent(items: Any, what: str) -> Any:
    """A progress bar that shows nothing."""
    return items


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data") / "corpus")


@pytest.fixture(scope="session")
def evaluation(small_batches: None, corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    options = EvaluationOptions(streams=1, robustness_clips=2, live_clips=0, noise_minutes=0, peers=False)
    work = tmp_path_factory.mktemp("work")
    return evaluate("measured", read_corpora([corpus_folder]), options, work, print, silent)


@pytest.fixture(scope="session")
def harness() -> WorkerHarness:
    card = replace(load_checkpoint("bundled").card, window_s=0.6, hop_s=0.24)
    return WorkerHarness("bundled", card, threads=1)


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> tuple[AudioStore, Corpus]:
    """Two clips of synthetic speech, which voice activity detection takes for speech."""
    folder = tmp_path_factory.mktemp("spoken")
    speech = read_whole(DEMO)
    clips = []
    for number, first_s in enumerate((0, 1)):
        path = folder / f"{number}.wav"
        soundfile.write(path, speech[first_s * SAMPLE_RATE : round((first_s + 1.3) * SAMPLE_RATE)], SAMPLE_RATE)
        clips.append(Clip(path, "spoken", ("neutral", "angry")[number], f"speaker {number}"))
    audio = AudioStore(folder / "work")
    audio.prepare(clips, silent)
    return audio, Corpus("spoken", "none", tuple(clips))
