"""Checkpoints: what is wrong with a file is said in one sentence, and nothing wrong is loaded."""

import dataclasses
import hashlib
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from streamer.audio.level import LEVEL_VERSION
from streamer.emotion import CheckpointCard, CheckpointError, EmotionDetectionModel, load_checkpoint, save_checkpoint
from streamer.emotion import checkpoint as checkpoint_module
from streamer.emotion.card import Accuracy, Calibration, card_from_json, card_to_json
from streamer.emotion.checkpoint import rewrite_card, save_head, shipped_path, tensors_digest

CARD = CheckpointCard(
    name="test",
    labels=("neutral", "happy", "angry"),
    sample_rate_hz=24_000,
    level_version=LEVEL_VERSION,
    level_target_rms=0.05,
    window_s=3.0,
    hop_s=0.24,
    calibrations=(Calibration(3.0, 1.5, 0.4), Calibration(1.0, 2.0, 0.5)),
    training_data=("noise",),
    accuracy=(Accuracy("noise", "UAR", 0.34, 1 / 3, "none"),),
    licence="CC0-1.0",
    notes="",
)


#: What the format does not care about: any tensors will do to test it.
WEIGHTS = {
    "a.weight": torch.randn(40, 30, generator=torch.Generator().manual_seed(0)),
    "a.bias": torch.tensor([0.5, -0.25, 0.125]),
    "scale": torch.tensor(2.0),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "good.safetensors"
    save_checkpoint(path, WEIGHTS, CARD)
    return path


@pytest.fixture(scope="module")
def model() -> EmotionDetectionModel:
    torch.manual_seed(0)
    return EmotionDetectionModel(3)


@pytest.fixture(scope="module")
def saved_model(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    save_checkpoint(path, model.state_dict(), CARD)
    return path


def rewritten(saved: Path, path: Path, tensors=None, digest: bool = True, **metadata: str) -> Path:
    """A copy of a checkpoint with some of it changed; with `digest` the digest of its weights is made to fit."""
    with safe_open(saved, "pt") as opened:
        known = opened.metadata()
    stored = load_file(saved)
    stored.update(tensors or {})
    stored = {name: tensor for name, tensor in stored.items() if tensor is not None}
    if digest:
        known["tensors_sha256"] = tensors_digest(stored)
    save_file(stored, path, known | metadata)
    return path


def sentence(error: pytest.ExceptionInfo[CheckpointError]) -> str:
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert ";" in text  # what is wrong; the cure
    assert error.value.exit_code == 1
    return text


def refused(path: Path | str, load=load_checkpoint) -> str:
    with pytest.raises(CheckpointError) as error:
        load(path)
    return sentence(error)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_what_was_saved_comes_back_in_float32(tmp_path, dtype):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, WEIGHTS, CARD, dtype)
    checkpoint = load_checkpoint(path)
    assert checkpoint.card == CARD
    assert checkpoint.tensors.keys() == WEIGHTS.keys()
    for name, tensor in checkpoint.tensors.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, WEIGHTS[name].to(dtype).float())
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_model_of_a_checkpoint_has_its_weights_labels_card_and_calibration(saved_model, model):
    loaded = EmotionDetectionModel.from_checkpoint(saved_model)
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name].half().float())
    assert loaded.labels == CARD.labels
    assert loaded.card == CARD
    assert loaded.temperature.item() == 1.5
    assert not loaded.training
    assert EmotionDetectionModel.from_checkpoint(saved_model, window_s=1.2).temperature.item() == 2.0


def test_a_missing_file_is_named(tmp_path):
    assert "There is no checkpoint" in refused(tmp_path / "none.safetensors")


def test_a_folder_is_no_checkpoint(tmp_path):
    assert "cannot be read" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x00", b"hello", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", b"\xff" * 64])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "c.safetensors"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("keep", [4, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path, saved, keep):
    data = saved.read_bytes()
    path = tmp_path / "c.safetensors"
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    assert "damaged" in refused(path)


def test_a_pickle_under_a_false_name_is_refused_unread(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    for name, write in (("bare", lambda f: pickle.dump(Bomb(), f)), ("torch", lambda f: torch.save({"a": Bomb()}, f))):
        path = tmp_path / f"{name}.safetensors"
        with path.open("wb") as stream:
            write(stream)
        assert "pickle" in refused(path)
    assert not (tmp_path / "exploded").exists()


def test_weights_of_another_program_are_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    save_file({"a": torch.zeros(3)}, path)
    assert "not a checkpoint of this program" in refused(path)


@pytest.mark.parametrize(
    ("version", "cure"),
    [("2", "train it again"), ("4", "update streamer"), ("999", "update streamer"), ("", "update"), ("one", "update")],
)
def test_another_format_version_is_refused_with_the_way_out(tmp_path, saved, version, cure):
    text = refused(rewritten(saved, tmp_path / "c.safetensors", format_version=version))
    assert "format version" in text
    assert cure in text


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"labels": ["a"]}, "labels"),
        ({"labels": ["a", "a", "b"]}, "label"),
        ({"labels": "abc"}, "labels"),
        ({"labels": [1, 2, 3]}, "labels"),
        ({"labels": ["a", "b" * 65]}, "labels"),  # an event with it would be refused by whoever receives it
        ({"labels": [f"label {number}" for number in range(257)]}, "labels"),
        ({"calibrations": []}, "calibrations"),
        ({"calibrations": [{"window_s": 3.0, "temperature": 0.0, "threshold": 0.4}]}, "temperature"),
        ({"calibrations": [{"window_s": 3.0, "temperature": 1.0, "threshold": 1.4}]}, "threshold"),
        ({"window_s": "three"}, "window_s"),
        ({"sample_rate_hz": 16_000}, "sample_rate_hz 16000"),
        ({"level_version": 7}, "level_version 7"),
        ({"level_target_rms": 0.1}, "level_target_rms"),
    ],
)
def test_an_impossible_card_is_refused_and_the_field_named(tmp_path, saved, changes, word):
    card = json.dumps(json.loads(card_to_json(CARD)) | changes)
    assert word in refused(rewritten(saved, tmp_path / "c.safetensors", card=card))


@pytest.mark.parametrize("card", ["", "{", "[]", "null", "{}"])
def test_a_card_that_is_none_is_refused(tmp_path, saved, card):
    assert "card" in refused(rewritten(saved, tmp_path / "c.safetensors", card=card))


def test_fields_of_a_newer_card_are_ignored():
    card = json.dumps(json.loads(card_to_json(CARD)) | {"carbon_kg": 1})
    assert card_from_json(card) == CARD


def test_weights_changed_behind_the_digest_are_found(tmp_path, saved):
    changed = {"a.bias": torch.tensor([9.0, 0.0, 0.0], dtype=torch.float16)}
    path = rewritten(saved, tmp_path / "c.safetensors", changed, digest=False)
    assert "not those that were saved" in refused(path)


def test_a_single_flipped_bit_is_found(tmp_path, saved):
    data = bytearray(saved.read_bytes())
    data[-100] ^= 1
    path = tmp_path / "c.safetensors"
    path.write_bytes(data)
    assert "not those that were saved" in refused(path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, saved, bad):
    changed = {"a.bias": torch.tensor([bad, 0.0, 0.0], dtype=torch.float16)}
    assert "not finite" in refused(rewritten(saved, tmp_path / "c.safetensors", changed))


def test_weights_that_are_no_floats_are_refused(tmp_path, saved):
    changed = {"a.bias": torch.zeros(3, dtype=torch.int32)}
    assert "not as floats" in refused(rewritten(saved, tmp_path / "c.safetensors", changed))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"pooling.attention.0.weight": None}, "lacks pooling.attention.0.weight"),
        ({"dense.weight": torch.zeros(2, 2)}, "holds dense.weight"),
        ({"encoder.model.0.conv.conv.weight": torch.zeros(32, 1, 5)}, "[32, 1, 5]"),
        ({"classifier.bias": torch.zeros(4)}, "3 labels need [3]"),
    ],
)
def test_weights_of_another_architecture_are_refused(tmp_path, saved_model, changed, words):
    path = rewritten(saved_model, tmp_path / "c.safetensors", changed)
    assert words in refused(path, EmotionDetectionModel.from_checkpoint)


def test_more_labels_than_logits_are_refused(tmp_path, saved_model):
    card = card_to_json(dataclasses.replace(CARD, labels=("a", "b", "c", "d")))
    path = rewritten(saved_model, tmp_path / "c.safetensors", card=card)
    assert "4 labels need" in refused(path, EmotionDetectionModel.from_checkpoint)


def test_nothing_is_written_when_the_weights_are_not_finite(tmp_path):
    weights = WEIGHTS | {"a.bias": torch.tensor([1e6, 0.0, 0.0])}  # infinite as float16
    path = tmp_path / "c.safetensors"
    with pytest.raises(CheckpointError, match="not finite"):
        save_checkpoint(path, weights, CARD)
    assert list(tmp_path.iterdir()) == []


def test_an_impossible_card_is_not_written(tmp_path):
    with pytest.raises(CheckpointError, match="labels"):
        save_checkpoint(tmp_path / "c.safetensors", WEIGHTS, dataclasses.replace(CARD, labels=("a", "a")))
    assert list(tmp_path.iterdir()) == []


def test_saving_again_replaces_the_file_and_leaves_nothing_beside_it(tmp_path, saved):
    path = tmp_path / "c.safetensors"
    shutil.copy(saved, path)
    save_checkpoint(path, WEIGHTS, dataclasses.replace(CARD, name="second"))
    assert load_checkpoint(path).card.name == "second"
    assert list(tmp_path.iterdir()) == [path]


def test_whoever_may_read_a_new_file_may_read_a_checkpoint(tmp_path, saved):
    (tmp_path / "plain").touch()
    assert saved.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(("name", "file", "limit"), [("bundled", "bundled", 16e6), ("measured", "measured-head", 40e3)])
def test_the_shipped_checkpoints_are_small_labelled_and_honest(name, file, limit):
    checkpoint = load_checkpoint(name)
    assert shipped_path(file).stat().st_size < limit
    card = checkpoint.card
    assert card.labels == ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
    assert "CC BY-NC-SA 4.0" in card.licence
    assert {accuracy.corpus for accuracy in card.accuracy} == {"CREMA-D", "RAVDESS", "nEMO"}
    assert "streams" in card.accuracy[0].protocol, "what a live user gets comes first"
    assert all(accuracy.chance < accuracy.value < 0.7 for accuracy in card.accuracy)


def test_the_bundled_checkpoint_has_a_neutral_mean() -> None:
    assert load_checkpoint("bundled").card.neutral_mean is not None


def test_a_card_without_a_neutral_mean_is_read_as_none() -> None:
    older = json.loads(card_to_json(load_checkpoint("bundled").card))
    del older["neutral_mean"]
    assert card_from_json(json.dumps(older)).neutral_mean is None


@pytest.mark.parametrize("wrong", [[0.0] * 127, [0.0] * 129, ["x"] * 128, 0.5])
def test_a_neutral_mean_that_is_no_embedding_is_refused(wrong: object) -> None:
    card = json.loads(card_to_json(load_checkpoint("bundled").card)) | {"neutral_mean": wrong}
    with pytest.raises(ValueError, match="neutral_mean"):
        card_from_json(json.dumps(card))


def test_a_head_beside_its_base_is_the_checkpoint_that_it_was_cut_from(tmp_path, monkeypatch):
    bundled = load_checkpoint("bundled")
    generator = torch.Generator().manual_seed(5)
    own = {"classifier.bias": torch.randn(8, generator=generator).half().float()}
    whole = tmp_path / "whole.safetensors"
    save_checkpoint(whole, {**bundled.tensors, **own}, dataclasses.replace(bundled.card, name="other"))
    save_head(tmp_path / "measured-head.safetensors", whole)
    shipped = {"measured-head": tmp_path / "measured-head.safetensors", "bundled": shipped_path("bundled")}
    monkeypatch.setattr(checkpoint_module, "shipped_path", shipped.__getitem__)
    one, other = load_checkpoint(whole), load_checkpoint("measured")
    assert (one.card, one.sha256) == (other.card, other.sha256)
    assert tensors_digest(one.tensors) == tensors_digest(other.tensors)
    with safe_open(shipped["measured-head"], "pt") as opened:
        assert list(opened.keys()) == ["classifier.bias"]


def test_a_head_beside_another_base_is_refused(tmp_path, monkeypatch):
    bundled = load_checkpoint("bundled")
    moved = {**bundled.tensors, "pooling.attention.2.bias": bundled.tensors["pooling.attention.2.bias"] + 1}
    save_checkpoint(tmp_path / "bundled.safetensors", moved, bundled.card)
    shipped = {"measured-head": shipped_path("measured-head"), "bundled": tmp_path / "bundled.safetensors"}
    monkeypatch.setattr(checkpoint_module, "shipped_path", shipped.__getitem__)
    with pytest.raises(CheckpointError, match="not those that were saved"):
        load_checkpoint("measured")


def test_a_head_by_itself_is_no_checkpoint():
    assert "not a checkpoint of this program" in refused(shipped_path("measured-head"))


def test_a_head_of_another_architecture_is_not_cut(tmp_path, saved):
    with pytest.raises(CheckpointError, match="another architecture"):
        save_head(tmp_path / "head.safetensors", saved)


def test_the_shipped_measured_model_is_the_one_that_was_measured():
    """The digests of the 15 MB file that `measured` was before it was shipped as a head."""
    measured = load_checkpoint("measured")
    assert measured.sha256 == "606ca6366768d0d482e0a0c72381ee2ebde7d56eecd12c36b3725731ba86a6c4"
    stored = {name: tensor.half() for name, tensor in measured.tensors.items()}
    assert tensors_digest(stored) == "c420e8936c79b0ee35b45bf0f71df2f183d51d69c4e893005c78cbb1eace0f69"


def test_bundled_equals_measured_but_for_the_heads_fitted_on_all_speakers() -> None:
    shipped = {name: load_checkpoint(name) for name in ("bundled", "measured")}
    bundled, measured = (checkpoint.card for checkpoint in shipped.values())
    tensors = [checkpoint.tensors for checkpoint in shipped.values()]
    differing = {name for name in tensors[0] if not torch.equal(tensors[0][name], tensors[1][name])}
    heads = ("classifier", "stream_classifier")
    assert differing == {f"{head}.{part}" for head in heads for part in ("weight", "bias")}
    assert bundled.speakers is not None
    assert measured.speakers is not None
    assert bundled.speakers.validation == bundled.speakers.test == ()
    everyone = {*measured.speakers.train, *measured.speakers.validation, *measured.speakers.test}
    assert set(bundled.speakers.train) == everyone
    assert measured.speakers.test
    assert all("by measured-12" in one.protocol for one in bundled.accuracy if "streams" in one.protocol)
    left_out = "each by a head fitted to all other speakers, the encoder of measured-12"
    assert all(left_out in one.protocol for one in bundled.accuracy if "streams" not in one.protocol)
    assert all("by measured-12" in one.protocol for one in measured.accuracy)


def test_a_card_is_replaced_and_the_weights_stay_bit_for_bit(tmp_path, saved):
    path = tmp_path / "copy.safetensors"
    shutil.copy(saved, path)
    stored, before = load_file(path), load_checkpoint(path)
    rewrite_card(path, dataclasses.replace(before.card, highpass_hz=60.0))
    after = load_checkpoint(path)
    assert after.card == dataclasses.replace(before.card, highpass_hz=60.0)
    assert after.sha256 != before.sha256
    assert {name: tensor.dtype for name, tensor in load_file(path).items()} == {n: t.dtype for n, t in stored.items()}
    assert all(torch.equal(tensor, stored[name]) for name, tensor in load_file(path).items())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_head_keeps_its_base_when_its_card_is_replaced(tmp_path):
    path = tmp_path / "head.safetensors"
    shutil.copy(shipped_path("measured-head"), path)
    with safe_open(path, "pt") as file:
        before = file.metadata()
    rewrite_card(path, dataclasses.replace(card_from_json(before["card"]), highpass_hz=60.0))
    with safe_open(path, "pt") as file:
        after = file.metadata()
    assert card_from_json(after["card"]).highpass_hz == 60.0
    assert {k: v for k, v in after.items() if k != "card"} == {k: v for k, v in before.items() if k != "card"}


def test_a_card_without_a_high_pass_is_read_as_one_that_has_none():
    stored = json.loads(card_to_json(CARD))
    del stored["highpass_hz"]
    assert card_from_json(json.dumps(stored)).highpass_hz is None


@pytest.mark.parametrize("cutoff_hz", [0, -5.0, 12_000])
def test_an_impossible_high_pass_is_refused(cutoff_hz):
    stored = json.loads(card_to_json(CARD)) | {"highpass_hz": cutoff_hz}
    with pytest.raises(ValueError, match="highpass_hz"):
        card_from_json(json.dumps(stored))
