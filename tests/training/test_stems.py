"""When cached features serve again, and when they are computed anew."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from streamer.audio.front_end import normalize_batch
from streamer.corpora.audio_store import AudioStore
from streamer.corpora.augment import Augmentation
from streamer.corpora.corpus import clips_of
from streamer.corpora.speed_versions import SpeedVersions
from streamer.corpora.splits import Split
from streamer.emotion import EmotionDetectionModel
from streamer.training.encoder_parts import LSTM_LAYER, lower_layers
from streamer.training.recipe import Recipe
from streamer.training.stems import StemStore, as_tensor
from streamer.training.windows import StemWindows
from tests.training.small_run import QUICK, opened, prepared, silent


@pytest.mark.slow
@pytest.mark.parametrize("other", [replace(QUICK, seed=5), replace(QUICK, augmentation=Augmentation(babble=0.9))])
def test_features_of_another_augmentation_are_computed_anew(corpus: Path, tmp_path: Path, other: Recipe) -> None:
    prepared(corpus, tmp_path)
    stored = set(tmp_path.glob("stem-*"))
    prepared(corpus, tmp_path)
    assert set(tmp_path.glob("stem-*")) == stored
    prepared(corpus, tmp_path, other)
    assert len(set(tmp_path.glob("stem-*"))) == 2 * len(stored)


def test_the_repr_that_names_the_files_is_that_of_the_first_version() -> None:
    assert repr(Augmentation()) == (
        "Augmentation(gain_db=(-12.0, 12.0), noise=0.6, snr_db=(3.0, 35.0), babble=0.3, room=0.3, band=0.25, "
        "clipping=0.05, speed=0.8, pace=(0.8, 1.25))"
    )


@pytest.mark.slow
def test_each_run_s_babble_is_of_its_own_speakers(corpus: Path, tmp_path: Path) -> None:
    recipe = replace(QUICK, start="lower", tune="deep", versions=2)
    one, two, three, four = (f"ravdess/{speaker}" for speaker in ("01", "02", "03", "04"))
    for split in (Split(1, (one, two), (three,), (four,)), Split(1, (three, four), (one,), (two,))):
        prepared(corpus, tmp_path, recipe, split)
    assert len(list(tmp_path.glob("stem-*-1.bin"))) == 2
    recorded = set(tmp_path.glob("stem-*-0.bin")) - set(tmp_path.glob("stem-*-*-0.bin"))
    assert len(recorded) == 1  # it has no babble, and serves both


def test_what_bfloat16_computed_is_stored_without_loss(corpus: Path, tmp_path: Path) -> None:
    run = opened(corpus, tmp_path)
    clips, model = clips_of(run.corpora)[:3], EmotionDetectionModel.from_checkpoint("measured")
    audio = AudioStore(tmp_path)
    audio.prepare(clips, silent)
    speeds = SpeedVersions(audio, 1, 0, Augmentation())
    read = {}
    for dtype in (torch.float32, torch.bfloat16):
        store = StemStore(tmp_path, model, speeds, LSTM_LAYER, [], dtype)
        store.prepare(model.encoder, clips, [], 0, silent)
        read[dtype] = as_tensor(store.versions[0][clips[0].key])
    levelled, _ = normalize_batch([audio[clips[0].key]], model.highpass_hz)
    with torch.no_grad():
        exact = lower_layers(model.encoder, torch.from_numpy(levelled))[0]
    assert read[torch.bfloat16].dtype == torch.bfloat16
    assert read[torch.float32].dtype == torch.float16
    for stored, tolerance in zip(read.values(), (1e-3, 2e-2), strict=True):
        assert float((stored.float() - exact).norm() / exact.norm()) < tolerance


def test_a_clip_in_a_stream_is_levelled_by_what_the_speaker_said_before(corpus: Path, tmp_path: Path) -> None:
    clips, model = clips_of(opened(corpus, tmp_path).corpora), EmotionDetectionModel.from_checkpoint("measured")
    audio = AudioStore(tmp_path)
    audio.prepare(clips, silent)
    stores = []
    for folder in ("one", "two"):
        store = StemStore(tmp_path / folder, model, SpeedVersions(audio, 4, 0, Augmentation()), LSTM_LAYER, [])
        store.prepare(model.encoder, clips, [], 0, silent)
        stores.append(store)
    key = clips[0].key
    alone, in_stream, *augmented = (as_tensor(version[key]) for version in stores[0].versions)
    assert alone.shape == in_stream.shape
    assert not torch.equal(alone, in_stream)
    assert torch.equal(in_stream, as_tensor(stores[1].versions[1][key]))
    assert len({len(one) for one in augmented} | {len(alone)}) > 1  # at paces of their own
    drawn = {len(StemWindows(stores[0], 0, step=2).cut(key, 1000, np.random.default_rng(n)).rows) for n in range(30)}
    assert drawn == {len(alone), len(augmented[0])}
