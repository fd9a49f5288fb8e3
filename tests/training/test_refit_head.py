from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamer.commands.train import TrainingOptions, run_training
from streamer.corpora.corpus import read_corpora
from streamer.emotion import load_checkpoint, save_checkpoint
from streamer.errors import UsageError
from streamer.training.export import EvaluatedModel
from streamer.training.head import PooledWindows, fit_head
from streamer.training.recipe import Recipe
from streamer.training.refit_head import refit_head
from tests.support.training_corpus import write_corpus

QUICK = Recipe(versions=1, non_speech=0, settling=5)
EVERYONE = {"ravdess/01", "ravdess/02", "ravdess/03", "ravdess/04"}


def silent(items: Any, what: str) -> Any:
    return items


def final(corpus: Path, work: Path, checkpoint: str | Path, recipe: Recipe = QUICK) -> Path:
    corpora, output = read_corpora([corpus]), work / "final.safetensors"
    return refit_head(corpora, recipe, checkpoint, work, output, torch.device("cpu"), lambda line: None, silent)


def known_speakers(path: Path, train: str, validation: str, test: str) -> Path:
    """A checkpoint that was trained, tuned and tested on one of four speakers each, and does not know the fourth."""
    stored = load_checkpoint("measured")
    assert stored.card.speakers is not None
    speakers = replace(stored.card.speakers, train=(train,), validation=(validation,), test=(test,))
    save_checkpoint(path, stored.tensors, replace(stored.card, name="made", speakers=speakers))
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data") / "corpus")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Trained on speaker 01, tuned on 02, tested on 03; 04 is a stranger."""
    return known_speakers(tmp_path / "made.safetensors", "ravdess/01", "ravdess/02", "ravdess/03")


def test_it_hears_everyone_and_is_measured_on_those_whom_its_encoder_has_not_heard(
    corpus: Path, made: Path, tmp_path: Path
) -> None:
    before, after = load_checkpoint(made).card, load_checkpoint(final(corpus, tmp_path, made)).card
    assert after.speakers is not None
    assert (set(after.speakers.train), after.speakers.validation, after.speakers.test) == (EVERYONE, (), ())
    assert [one.window_s for one in after.calibrations] == [one.window_s for one in before.calibrations]
    assert [one.corpus for one in after.accuracy] == ["ravdess"]
    assert "8 whole clips of 2 speakers never heard" in after.accuracy[0].protocol
    assert "each in turn, by a classifier that learnt from all others" in after.accuracy[0].protocol
    assert after.notes.startswith("The encoder is made's. The classifier learnt from all 4 speakers")


def test_whoever_is_measured_is_answered_by_a_classifier_that_has_heard_all_others_alone(
    corpus: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[set[str]] = []

    def listening(model: Any, windows: PooledWindows, steps: int, seed: int) -> None:
        learnt.append({speaker for speaker in windows.speakers if speaker})
        fit_head(model, windows, steps, seed)

    monkeypatch.setattr("streamer.training.refit_head.fit_head", listening)
    final(corpus, tmp_path, made)
    tuned, tested = "ravdess/02", ("ravdess/03", "ravdess/04")
    assert learnt == [EVERYONE - {left_out} for left_out in (tuned, *tested)] + [EVERYONE]


def test_a_speaker_s_own_labels_do_not_change_his_answers(
    corpus: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each test speaker's own labels may be wrong without a change in the answers that are given for him."""
    answered: list[Any] = []

    def asking(model: Any, corpora: Any, origin: Any, worth: EvaluatedModel, *rest: Any) -> None:
        answered.append(worth.tested)

    monkeypatch.setattr("streamer.training.refit_head.export_checkpoint", asking)
    final(corpus, tmp_path, made)
    told = read_corpora([corpus])
    wrong = [
        replace(
            one,
            clips=tuple(
                replace(clip, label="angry" if clip.label == "neutral" else "neutral") if clip.speaker == "03" else clip
                for clip in one.clips
            ),
        )
        for one in told
    ]
    refit_head(wrong, QUICK, made, tmp_path, tmp_path / "w.safetensors", torch.device("cpu"), lambda line: None, silent)
    rows = [[clip.speaker == "03" for clip in predictions.clips] for predictions in answered]
    assert np.allclose(answered[0].logits[rows[0]], answered[1].logits[rows[1]], equal_nan=True)


def test_only_the_classifier_learns_anew(corpus: Path, made: Path, tmp_path: Path) -> None:
    before, after = load_checkpoint(made).tensors, load_checkpoint(final(corpus, tmp_path, made)).tensors
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith("classifier.")}


def test_a_checkpoint_that_has_heard_everyone_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"bundled has left nobody of ravdess out to tune .*as measured"):
        final(corpus, tmp_path, "bundled")


def test_a_checkpoint_that_does_not_say_whom_it_has_heard_is_refused(corpus: Path, tmp_path: Path) -> None:
    stored, path = load_checkpoint("measured"), tmp_path / "silent.safetensors"
    save_checkpoint(path, stored.tensors, replace(stored.card, speakers=None))
    with pytest.raises(UsageError, match="does not say whom it has heard"):
        final(corpus, tmp_path, path)


def test_without_settling_there_is_nothing_to_fit(corpus: Path, made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="settling is 0, use 1 or more"):
        final(corpus, tmp_path, made, replace(QUICK, settling=0))


def test_the_checkpoint_that_it_begins_with_is_not_overwritten(corpus: Path, made: Path, tmp_path: Path) -> None:
    before = made.read_bytes()
    with pytest.raises(UsageError, match="give another --output"):
        run_training([corpus], QUICK, TrainingOptions(output=made, work=tmp_path, final=str(made), device="cpu"))
    assert made.read_bytes() == before


def test_one_command_makes_the_final_fit(
    corpus: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "final.safetensors"
    run_training([corpus], QUICK, TrainingOptions(output=output, work=tmp_path, final=str(made), device="cpu"))
    assert "each in turn" in capsys.readouterr().out
    assert load_checkpoint(output).card.name == "final"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("split", "leave --split, --folds"), ("fold", "leave --split, --folds"), ("resume", "leave --resume")],
)
def test_what_a_final_fit_has_no_use_for_is_refused(
    corpus: Path, made: Path, tmp_path: Path, wrong: str, words: str
) -> None:
    output = tmp_path / "final.safetensors"
    asked: dict[str, Any] = {"split": tmp_path / "split.json", "fold": (2, 3), "resume": True}
    with pytest.raises(UsageError, match=words):
        TrainingOptions(output=output, work=tmp_path, final=str(made), device="cpu", **{wrong: asked[wrong]})
    assert not output.exists()
