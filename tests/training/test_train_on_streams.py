"""The head fitted to streams: from corpora and recordings to a checkpoint with a history."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from streamer.constants import SAMPLE_RATE
from streamer.corpora.corpus import read_corpora
from streamer.corpora.splits import Split
from streamer.emotion import EmotionDetectionModel, load_checkpoint, save_checkpoint
from streamer.errors import UsageError
from streamer.training import stream_frames
from streamer.training.natural import natural_streams
from streamer.training.train_on_streams import StreamData, StreamRecipe, train_on_streams
from tests.support.training_corpus import write_corpus
from tests.training.small_run import QUIET

SPLIT = Split(1, train=("ravdess/02", "ravdess/04"), validation=("ravdess/03",), test=("ravdess/01",))


def noise(path: Path, seconds: float, seed: int = 0) -> Path:
    audio = 0.05 * np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE))
    soundfile.write(path, audio, SAMPLE_RATE)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> StreamData:
    folder = tmp_path_factory.mktemp("data")
    corpora = read_corpora([write_corpus(folder / "corpus", seconds=1.5)])
    natural = natural_streams([noise(folder / "radio.wav", 5.0)])
    return StreamData(corpora, SPLIT, natural, natural_streams([noise(folder / "street.wav", 4.0, seed=1)]))


@pytest.mark.slow
def test_a_checkpoint_gets_a_head_and_a_history_and_goes_on_from_its_caches(
    data: StreamData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    recipe = StreamRecipe(seed=1, versions=2, draws=1)
    path = train_on_streams(data, recipe, "measured", tmp_path, tmp_path / "mine.safetensors", QUIET)
    before, after = load_checkpoint("measured"), load_checkpoint(path)
    changed = {name for name in before.tensors if not torch.equal(before.tensors[name], after.tensors[name])}
    assert changed == {"stream_classifier.weight", "stream_classifier.bias"}
    assert after.card.history is not None
    assert after.card.speakers is not None
    assert set(SPLIT.train) <= set(after.card.speakers.train)
    assert [one.window_s for one in after.card.calibrations] == [1.0, 2.0, 3.0, 5.0]
    assert "1 held-out speaker" in after.card.accuracy[0].protocol
    model = EmotionDetectionModel.from_checkpoint(path)
    assert model.history == after.card.history

    monkeypatch.setattr(stream_frames, "_encode", lambda *_: pytest.fail("encoded twice"))
    again = train_on_streams(data, recipe, "measured", tmp_path, tmp_path / "again.safetensors", QUIET)
    name = "stream_classifier.weight"
    assert load_checkpoint(again).tensors[name].equal(after.tensors[name])


def test_a_split_that_tests_whom_the_checkpoint_knows_is_refused(data: StreamData, tmp_path: Path) -> None:
    leaking = StreamData(data.corpora, Split(1, ("ravdess/01",), ("ravdess/03",), ("ravdess/02",)), (), ())
    with pytest.raises(UsageError, match="was trained or tuned on"):
        train_on_streams(leaking, StreamRecipe(seed=1), "measured", tmp_path, tmp_path / "x.safetensors", QUIET)


def test_a_split_without_validation_is_refused(data: StreamData, tmp_path: Path) -> None:
    blind = StreamData(data.corpora, Split(1, ("ravdess/02",), (), ("ravdess/01",)), (), ())
    with pytest.raises(UsageError, match="validates no speaker"):
        train_on_streams(blind, StreamRecipe(seed=1), "measured", tmp_path, tmp_path / "x.safetensors", QUIET)


def test_short_recordings_of_a_folder_follow_each_other_up_to_a_minute(tmp_path: Path) -> None:
    for number in range(5):
        noise(tmp_path / f"{number}.wav", 25.0)
    groups = natural_streams([tmp_path])
    assert [[clip.path.name for clip in group] for group in groups] == [["0.wav", "1.wav", "2.wav"], ["3.wav", "4.wav"]]
    assert len({clip.key for group in groups for clip in group}) == 5


def test_a_csv_file_groups_recordings_by_speaker(tmp_path: Path) -> None:
    for name in "abc":
        noise(tmp_path / f"{name}.wav", 1.0)
    (tmp_path / "list.csv").write_text("path,label,speaker\na.wav,neutral,1\nb.wav,neutral,2\nc.wav,neutral,1\n")
    assert [len(group) for group in natural_streams([tmp_path / "list.csv"])] == [2, 1]


@pytest.mark.parametrize("name", ["lost.wav", "."])
def test_missing_recordings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="There is no recording"):
        natural_streams([tmp_path / name])


def test_only_a_checkpoint_of_the_same_encoder_gets_the_head_of_everyone(data: StreamData, tmp_path: Path) -> None:
    stored = load_checkpoint("measured")
    changed = {name: tensor + 0.01 * name.startswith("encoder.") for name, tensor in stored.tensors.items()}
    save_checkpoint(tmp_path / "other.safetensors", changed, stored.card)
    recipe = StreamRecipe(seed=1, everyone=tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="another encoder"):
        train_on_streams(data, recipe, "measured", tmp_path, tmp_path / "x.safetensors", QUIET)
