import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from streamer.corpora.augment import Augmentation
from streamer.corpora.corpus import clips_of, read_corpora
from streamer.corpora.splits import Split
from streamer.emotion import EmotionDetectionModel
from streamer.emotion.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from streamer.emotion.labels import LABELS
from streamer.errors import StreamerError, UsageError
from streamer.training.batches import NON_SPEECH, draw_epoch
from streamer.training.losses import Weights, masked_cross_entropy
from streamer.training.recipe import Recipe
from streamer.training.stems import DEEP_LAYER
from streamer.training.student import batch_losses, initial_model
from streamer.training.trainer import Trainer
from streamer.training.validation import evaluate_model
from tests.support.training_corpus import write_corpus

QUICK = Recipe(
    start="measured",
    tune="upper",
    teacher=None,
    epochs=2,
    batch_size=4,
    versions=2,
    window_s=0.3,
    non_speech=0.2,
    settling=5,
)


def silent(items: Any, what: str) -> Any:
    return items


def trainer(corpus: Path, work: Path, recipe: Recipe = QUICK, resume: bool = False) -> Trainer:
    made = Trainer(read_corpora([corpus]), recipe, work, resume, torch.device("cpu"), lambda line: None)
    made.prepare(silent)
    return made


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data") / "corpus")


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a run that was not interrupted."""
    work = tmp_path_factory.mktemp("trained")
    trainer(corpus, work).run(work / "model.safetensors", silent)
    return work


def test_training_leaves_a_checkpoint_with_its_card(trained: Path) -> None:
    card = load_checkpoint(trained / "model.safetensors").card
    assert card.training_data[0] == "ravdess: 16 clips, 4 speakers, CC BY-NC-SA 4.0"
    assert [data.partition(" ")[0] for data in card.training_data[1:]] == ["CREMA-D"]  # from the model it began with
    assert card.licence == "CC BY-NC-SA 4.0"
    assert [accuracy.corpus for accuracy in card.accuracy] == ["ravdess"]
    assert card.accuracy[0].chance == 0.5
    assert {calibration.window_s for calibration in card.calibrations} == {1.0, 2.0, 3.0, 5.0}
    assert card.neutral_mean is not None
    assert any(card.neutral_mean)
    logits = EmotionDetectionModel.from_checkpoint(trained / "model.safetensors")(torch.zeros(1, 1, 4800))
    assert torch.isfinite(logits).all()


def test_every_epoch_has_a_line_in_the_log(trained: Path) -> None:
    lines = (trained / "log.txt").read_text().splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["epoch", "1"], ["epoch", "2"]]
    assert all("validation UAR ravdess" in line for line in lines[:2])


def test_an_interrupted_run_ends_as_if_it_had_not_been(trained: Path, corpus: Path, tmp_path: Path) -> None:
    class InterruptedRunError(Exception):
        pass

    def until_the_second_epoch(items: Any, what: str) -> Any:
        if what == "epoch 2":
            raise InterruptedRunError
        return items

    with pytest.raises(InterruptedRunError):
        trainer(corpus, tmp_path).run(tmp_path / "model.safetensors", until_the_second_epoch)
    other = replace(QUICK, epochs=9)  # what the folder holds counts
    trainer(corpus, tmp_path, other, resume=True).run(tmp_path / "model.safetensors", silent)
    ended, whole = (load_checkpoint(folder / "model.safetensors").tensors for folder in (tmp_path, trained))
    assert all(torch.equal(ended[name], whole[name]) for name in whole)


def test_without_patience_all_epochs_are_gone_through_and_the_last_is_kept(corpus: Path, tmp_path: Path) -> None:
    still = replace(QUICK, epochs=3, patience=0, learning_rate=1e-12, encoder_learning_rate=1e-12)
    run = trainer(corpus, tmp_path, still)
    run.run(tmp_path / "model.safetensors", silent)
    assert (run.state.epoch, run.state.best_epoch) == (3, 3)  # though none is better than the first


def test_the_upper_part_learns_and_the_convolutions_stay(trained: Path) -> None:
    before = load_checkpoint("measured").tensors
    after = load_checkpoint(trained / "model.safetensors").tensors
    changed = {name for name in before if not torch.allclose(before[name], after[name], atol=1e-6)}
    assert not any(name.startswith(f"encoder.model.{layer}.") for layer in range(13) for name in changed)
    assert {"encoder.model.13.lstm.weight_hh_l0", "encoder.model.15.conv.conv.weight"} <= changed


def test_the_deep_part_learns_and_what_lies_below_stays(corpus: Path, tmp_path: Path) -> None:
    run = trainer(corpus, tmp_path, replace(QUICK, tune="deep", epochs=1))
    before = {name: tensor.clone() for name, tensor in run.student.model.encoder.state_dict().items()}
    run.run(tmp_path / "model.safetensors", silent)
    after = run.student.model.encoder.state_dict()
    changed = {int(name.split(".")[1]) for name in before if not torch.equal(before[name], after[name])}
    assert changed == {10, 12, 13, 15}  # a residual block, a convolution, the LSTM, a convolution


def test_what_is_kept_is_the_mean_of_the_weights_over_steps(corpus: Path, tmp_path: Path) -> None:
    run = trainer(corpus, tmp_path, replace(QUICK, epochs=1, averaging=0.9))
    name = "encoder.model.15.conv.conv.weight"
    weights, seen = run.student.model.state_dict()[name], []
    update = run.averaged.update_parameters

    def note(student: torch.nn.Module) -> None:
        seen.append(weights.clone())
        update(student)  # type: ignore[no-untyped-call]

    run.averaged.update_parameters = note  # type: ignore[method-assign, assignment]
    run.run(tmp_path / "model.safetensors", silent)
    mean = seen[0]
    for later in seen[1:]:
        mean = 0.9 * mean + 0.1 * later
    assert len(seen) > 1
    assert torch.allclose(run.kept.model.state_dict()[name], mean, atol=1e-6)


def test_clips_are_mixed_and_values_dropped_in_training_alone(corpus: Path, tmp_path: Path) -> None:
    run = trainer(corpus, tmp_path, replace(QUICK, dropout=0.5, mixup=1.0, epochs=1))
    run.student.train()
    frames, real = torch.randn(2, 128, 6), torch.ones(2, 6, dtype=torch.bool)
    assert not torch.equal(run.student.answers(frames, real).logits, run.student.answers(frames, real).logits)
    run.run(tmp_path / "model.safetensors", silent)
    run.student.eval()
    assert torch.equal(run.student.answers(frames, real).logits, run.student.answers(frames, real).logits)


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_a_clip_mixed_with_itself_teaches_what_it_teaches_alone(corpus: Path, tmp_path: Path, mixup: float) -> None:
    run = trainer(corpus, tmp_path, replace(QUICK, dropout=0.0, mixup=mixup))
    keys = draw_epoch(run._learning, 0.0, np.random.default_rng(0))[:1]
    batch = run._windows.batch(keys, np.random.default_rng(0))
    alone = run.student.answers(run.student.frames(batch.inputs, run.dtype), batch.real).logits
    expected = masked_cross_entropy(alone, batch.targets, batch.masks)
    losses = batch_losses(run.student, batch, run.dtype, mixup)
    assert losses[-1].item() == pytest.approx(expected.item(), rel=2e-2)  # bfloat16 rounds the mixture


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_descriptors_are_learnt_where_they_have_a_weight(corpus: Path, tmp_path: Path, weight: float) -> None:
    run = trainer(corpus, tmp_path, replace(QUICK, weights=Weights(descriptors=weight), epochs=1))
    run.run(tmp_path / "model.safetensors", silent)
    gradient = run.student.descriptor_answer.weight.grad
    assert gradient is not None
    assert bool(gradient.abs().sum() > 0) == (weight > 0)
    assert ("loss descriptors" in (tmp_path / "log.txt").read_text()) == (weight > 0)


def test_everything_learns_from_a_random_start(corpus: Path, tmp_path: Path) -> None:
    recipe = replace(QUICK, start="random", tune="all", epochs=1, batch_size=8)
    run = trainer(corpus, tmp_path, recipe)
    before = {name: tensor.clone() for name, tensor in run.student.model.encoder.state_dict().items()}
    run.run(tmp_path / "model.safetensors", silent)
    after = run.student.model.encoder.state_dict()
    assert not any(torch.equal(before[name], after[name]) for name in before)


def test_lower_is_the_bundled_encoder_below_600_hz_and_chance_above() -> None:
    bundled, begun = (initial_model(start, len(LABELS)).encoder.state_dict() for start in ("bundled", "lower"))
    same = {name for name in bundled if torch.equal(bundled[name], begun[name])}
    layers = {name: int(name.split(".")[1]) for name in bundled}
    assert {name for name in bundled if layers[name] < DEEP_LAYER} <= same
    assert not any(layers[name] >= DEEP_LAYER for name in same)


@pytest.mark.parametrize("suffix", ["safetensors", "th"])
def test_an_encoder_s_weights_alone_are_a_start(tmp_path: Path, suffix: str) -> None:
    encoder = initial_model("bundled", len(LABELS)).encoder.state_dict()
    path = tmp_path / f"encoder.{suffix}"
    if suffix == "th":
        torch.save(encoder, path)
    else:
        save_file(encoder, path)
    begun = initial_model(path, len(LABELS)).encoder.state_dict()
    assert all(torch.equal(begun[name], encoder[name]) for name in encoder)


def test_a_damaged_start_is_refused(tmp_path: Path) -> None:
    for name in ("half.safetensors", "half.th"):
        (tmp_path / name).write_bytes(b"\x10" * 64)
        with pytest.raises(StreamerError, match="half"):
            initial_model(tmp_path / name, len(LABELS))


def test_other_processes_cut_the_same_windows(trained: Path, corpus: Path, tmp_path: Path) -> None:
    run = Trainer(read_corpora([corpus]), QUICK, tmp_path, False, torch.device("cpu"), lambda line: None, workers=1)
    run.prepare(silent)
    run.run(tmp_path / "model.safetensors", silent)
    mine, theirs = (load_checkpoint(folder / "model.safetensors").tensors for folder in (tmp_path, trained))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_stale_validation_ends_training(corpus: Path, tmp_path: Path) -> None:
    still = replace(QUICK, epochs=20, patience=2, learning_rate=1e-12, encoder_learning_rate=1e-12)
    run = trainer(corpus, tmp_path, still)
    run.run(tmp_path / "model.safetensors", silent)
    assert run.state.epoch - run.state.best_epoch == 2


def test_what_cannot_be_resumed_is_said(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no training to resume"):
        trainer(corpus, tmp_path / "empty", resume=True)
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(UsageError, match="damaged"):
        trainer(corpus, tmp_path, resume=True)


@pytest.mark.parametrize("state", [b"", b"cut off", "other weights"])
def test_a_state_that_cannot_be_gone_on_with_is_told_in_one_sentence(
    corpus: Path, tmp_path: Path, state: bytes | str
) -> None:
    run = trainer(corpus, tmp_path)
    if isinstance(state, bytes):
        (tmp_path / "state.pt").write_bytes(state)
    else:  # as of a version with other layers
        run._save()
        stored = torch.load(tmp_path / "state.pt", weights_only=True)
        stored["student"]["another"] = stored["student"].pop("model.classifier.weight")
        torch.save(stored, tmp_path / "state.pt")
    with pytest.raises(UsageError, match=r"state\.pt is damaged or of another version; leave --resume out"):
        trainer(corpus, tmp_path, resume=True)


def test_a_run_is_resumed_with_the_corpora_it_learnt_from(corpus: Path, tmp_path: Path) -> None:
    trainer(corpus, tmp_path / "work")
    changed = write_corpus(tmp_path / "changed")
    next(changed.iterdir()).unlink()
    with pytest.raises(UsageError, match="learnt from ravdess"):
        trainer(changed, tmp_path / "work", resume=True)


@pytest.mark.parametrize("other", [replace(QUICK, seed=5), replace(QUICK, augmentation=Augmentation(babble=0.9))])
def test_features_that_were_changed_otherwise_are_computed_anew(corpus: Path, tmp_path: Path, other: Recipe) -> None:
    trainer(corpus, tmp_path)
    stored = set(tmp_path.glob("stem-*"))
    trainer(corpus, tmp_path)
    assert set(tmp_path.glob("stem-*")) == stored
    trainer(corpus, tmp_path, other)
    assert len(set(tmp_path.glob("stem-*"))) == 2 * len(stored)


def test_each_run_s_babble_is_of_its_own_speakers(corpus: Path, tmp_path: Path) -> None:
    recipe = replace(QUICK, start="lower", tune="deep", versions=2)
    one, two, three, four = (f"ravdess/{speaker}" for speaker in ("01", "02", "03", "04"))
    for split in (Split(1, (one, two), (three,), (four,)), Split(1, (three, four), (one,), (two,))):
        run = Trainer(
            read_corpora([corpus]), recipe, tmp_path, False, torch.device("cpu"), lambda line: None, split=split
        )
        run.prepare(silent)
    assert len(list(tmp_path.glob("stem-*-1.bin"))) == 2
    recorded = set(tmp_path.glob("stem-*-0.bin")) - set(tmp_path.glob("stem-*-*-0.bin"))
    assert len(recorded) == 1  # it has nobody behind it, and serves both


def test_a_start_that_cannot_be_read_costs_an_earlier_run_nothing(trained: Path, corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "work")
    with pytest.raises(CheckpointError):
        trainer(corpus, tmp_path / "work", replace(QUICK, start=str(tmp_path / "nothing.safetensors")))
    assert trainer(corpus, tmp_path / "work", resume=True).state.epoch == QUICK.epochs


def test_a_card_names_what_training_began_with_and_no_folder(corpus: Path, tmp_path: Path) -> None:
    start = tmp_path / "mine.safetensors"
    measured = load_checkpoint("measured")
    save_checkpoint(start, measured.tensors, measured.card)
    notes = evaluate_model(trainer(corpus, tmp_path / "work", replace(QUICK, start=str(start)))).notes
    assert notes.startswith("Started from mine.safetensors, ")
    assert str(tmp_path) not in notes


@pytest.mark.parametrize("seed", [QUICK.seed, 5])
def test_whoever_the_start_has_heard_keeps_the_part(corpus: Path, tmp_path: Path, seed: int) -> None:
    """02 taught the model that it begins with, 04 tuned it, 01 tested it, and 03 is unknown to it."""
    split = trainer(corpus, tmp_path, replace(QUICK, seed=seed)).split
    assert (split.train, split.validation, split.test) == (
        ("ravdess/02", "ravdess/03"),
        ("ravdess/04",),
        ("ravdess/01",),
    )


def test_a_split_that_tests_whom_the_start_has_heard_is_refused(corpus: Path, tmp_path: Path) -> None:
    split = Split(1, train=("ravdess/01", "ravdess/03"), validation=("ravdess/04",), test=("ravdess/02",))
    with pytest.raises(UsageError, match="ravdess/02 is a test speaker"):
        Trainer(read_corpora([corpus]), QUICK, tmp_path, False, torch.device("cpu"), lambda line: None, split=split)


def test_the_card_names_whom_the_start_has_heard_too(trained: Path) -> None:
    before = load_checkpoint("measured").card
    after = load_checkpoint(trained / "model.safetensors").card
    assert before.speakers is not None
    assert after.speakers is not None
    assert {*before.speakers.train, *before.speakers.validation} <= {*after.speakers.train, *after.speakers.validation}
    assert set(after.speakers.test) == set(before.speakers.test)
    assert before.licence.startswith(after.licence)


def test_a_given_split_says_who_is_trained_on_and_stays_with_the_run(corpus: Path, tmp_path: Path) -> None:
    corpora = read_corpora([corpus])
    split = Split(1, train=("ravdess/03", "ravdess/04"), validation=("ravdess/02",), test=("ravdess/01",))
    for resume in (False, True):
        made = Trainer(
            corpora, QUICK, tmp_path, resume, torch.device("cpu"), lambda line: None, split=None if resume else split
        )
        made.prepare(silent)
        assert made.split == split
    assert {clip.speaker for clip in made._learning} == {"03", "04"}


def test_a_resumed_run_needs_speakers_in_every_part_too(corpus: Path, tmp_path: Path) -> None:
    trainer(corpus, tmp_path)
    split = Split.load(tmp_path / "split.json")
    split.together().save(tmp_path / "split.json")
    with pytest.raises(UsageError, match="validation part has no speaker of ravdess"):
        trainer(corpus, tmp_path, resume=True)


def test_a_split_of_other_speakers_is_refused(corpus: Path, tmp_path: Path) -> None:
    split = Split(1, train=("ravdess/03",), validation=("ravdess/02",), test=("ravdess/12",))
    with pytest.raises(UsageError, match="test part has no speaker of ravdess"):
        Trainer(read_corpora([corpus]), QUICK, tmp_path, False, torch.device("cpu"), lambda line: None, split=split)


def test_a_recipe_comes_back_from_its_json() -> None:
    assert Recipe.from_json(QUICK.to_json()) == QUICK


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"tune": "some"}, "head, upper, deep or all"),
        ({"epochs": 0}, "epochs is 0"),
        ({"window_s": math.nan}, "window_s"),
        ({"start": "random"}, "tune all"),
        ({"start": "lower", "tune": "upper"}, "tune deep or all"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"mixup": -0.1}, "mixup -0.1"),
        ({"minutes": 0.0}, "minutes is 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1"),
        ({"encoder_learning_rate": math.inf}, "encoder_learning_rate is inf"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        replace(QUICK, **change)


def test_an_epoch_draws_small_corpora_more_often_and_no_clip_twice_before_all(tmp_path: Path) -> None:
    from streamer.corpora.corpus import Clip

    large = [Clip(Path(f"{number}.wav"), "large", "sad", "1") for number in range(100)]
    small = [Clip(Path(f"{number}.wav"), "small", "sad", "1") for number in range(4)]
    keys = draw_epoch([*large, *small], 0.1, np.random.default_rng(0))
    counts = {key: keys.count(key) for key in keys}
    assert counts[NON_SPEECH] == 10
    assert sum(key.startswith("small/") for key in keys) == round(104 * 2 / 12)
    of_small = [counts[key] for key in counts if key.startswith("small/")]
    assert max(of_small) - min(of_small) <= 1
    assert max(counts[key] for key in counts if key.startswith("large/")) == 1


def test_clips_keep_their_corpus_order(corpus: Path) -> None:
    clips = clips_of(read_corpora([corpus]))
    assert clips == sorted(clips, key=lambda clip: clip.path)
