import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_corpus import write_corpus

from streamer.commands.train import run_training
from streamer.emotion import load_checkpoint
from streamer.errors import UsageError
from streamer.training.corpora import read_corpora
from streamer.training.final import FOLDER, final_fit
from streamer.training.recipe import Recipe
from streamer.training.train import Trainer

QUICK = Recipe(
    start="measured",
    tune="upper",
    teacher=None,
    epochs=3,
    batch_size=4,
    versions=1,
    window_s=0.3,
    non_speech=0.2,
    settling=5,
)


def silent(items: Any, what: str) -> Any:
    return items


def measured(corpus: Path, work: Path, recipe: Recipe = QUICK) -> Path:
    run = Trainer(read_corpora([corpus]), recipe, work, False, torch.device("cpu"), lambda line: None)
    run.prepare(silent)
    return run.run(work / "measured.safetensors", silent)


def final(corpus: Path, work: Path, made: Path, resume: bool = False) -> Trainer:
    run = final_fit(read_corpora([corpus]), work, made, resume, torch.device("cpu"), lambda line: None)
    run.prepare(silent)
    return run


def pretend(work: Path, **values: int) -> None:
    """Change what the run in `work` says of how far it is."""
    stored = torch.load(work / "state.pt", weights_only=True)
    torch.save(stored | {"state": stored["state"] | values}, work / "state.pt")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data") / "corpus")


@pytest.fixture(scope="module")
def made_once(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("measured")
    measured(corpus, work)
    pretend(work, best_epoch=2)
    return work


@pytest.fixture
def work(made_once: Path, tmp_path: Path) -> Path:
    """The folder of a finished run, whose second epoch of three was the best."""
    return Path(shutil.copytree(made_once, tmp_path / "work"))


def test_the_final_fit_hears_everyone_and_tells_what_was_measured_without_some(corpus: Path, work: Path) -> None:
    made = work / "measured.safetensors"
    before = load_checkpoint(made).card
    run = final(corpus, work, made)
    assert {clip.speaker for clip in run._learning} == {"01", "02", "03", "04"}
    after = load_checkpoint(run.run(work / "final.safetensors", silent)).card
    assert after.speakers is not None
    assert {"ravdess/01", "ravdess/02", "ravdess/03", "ravdess/04"} <= set(after.speakers.train)
    assert after.speakers.validation == ()
    assert after.calibrations == before.calibrations
    assert [one.value for one in after.accuracy] == [one.value for one in before.accuracy]
    assert all("measured on measured, the same training without these" in one.protocol for one in after.accuracy)
    assert after.notes.startswith("Trained on all 4 speakers")


def test_it_goes_on_for_as_many_epochs_as_were_best(corpus: Path, work: Path) -> None:
    final(corpus, work, work / "measured.safetensors").run(work / "final.safetensors", silent)
    lines = (work / FOLDER / "log.txt").read_text().splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["epoch", "1"], ["epoch", "2"]]
    assert lines[2].startswith("classifier settled")
    assert not any("validation" in line or "best" in line for line in lines)


def test_the_run_that_was_measured_stays_as_it_was(corpus: Path, work: Path) -> None:
    def held() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in work.iterdir() if path.suffix in (".json", ".pt", ".txt")}

    before = held()
    final(corpus, work, work / "measured.safetensors").run(work / "final.safetensors", silent)
    assert held() == before


def test_an_interrupted_final_fit_ends_as_if_it_had_not_been(corpus: Path, work: Path, tmp_path: Path) -> None:
    class InterruptedRunError(Exception):
        pass

    def until_the_second_epoch(items: Any, what: str) -> Any:
        if what == "epoch 2":
            raise InterruptedRunError
        return items

    other, made = Path(shutil.copytree(work, tmp_path / "other")), work / "measured.safetensors"
    final(corpus, other, made).run(other / "final.safetensors", silent)
    with pytest.raises(InterruptedRunError):
        final(corpus, work, made).run(work / "final.safetensors", until_the_second_epoch)
    final(corpus, work, made, resume=True).run(work / "final.safetensors", silent)
    ended, whole = (load_checkpoint(folder / "final.safetensors").tensors for folder in (work, other))
    assert all(torch.equal(ended[name], whole[name]) for name in whole)


def test_a_run_that_ended_by_the_clock_lends_its_falling_rates(corpus: Path, tmp_path: Path) -> None:
    made = measured(corpus, tmp_path, replace(QUICK, minutes=1e-6))
    recipe = final(corpus, tmp_path, made).recipe
    assert (recipe.minutes, recipe.epochs) == (None, 1)


def test_a_run_with_a_clock_that_ended_before_it_lends_its_rates_slope(corpus: Path, work: Path) -> None:
    recipe = replace(QUICK, minutes=600.0, epochs=40, patience=1)
    (work / "recipe.json").write_text(recipe.to_json(), encoding="utf-8")
    pretend(work, epoch=3, best_epoch=2, seconds=60)
    assert final(corpus, work, work / "measured.safetensors").recipe.epochs == 40


def test_a_run_that_is_not_over_has_no_final_fit(corpus: Path, work: Path) -> None:
    pretend(work, epoch=2)
    with pytest.raises(UsageError, match="is not over; end it with --resume"):
        final(corpus, work, work / "measured.safetensors")


def test_a_checkpoint_of_another_training_is_refused(corpus: Path, work: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bundled was not made by the training"):
        final(corpus, work, Path("bundled"))
    other = measured(corpus, tmp_path / "other", replace(QUICK, epochs=1, dropout=0.5))  # of the same speakers
    with pytest.raises(UsageError, match="was not made by the training"):
        final(corpus, work, other)


def test_what_an_earlier_training_left_of_its_final_fit_is_not_gone_on_with(corpus: Path, work: Path) -> None:
    made = work / "measured.safetensors"
    final(corpus, work, made)
    recipe = Recipe.from_json((work / "recipe.json").read_text(encoding="utf-8"))
    (work / "recipe.json").write_text(replace(recipe, dropout=0.2).to_json(), encoding="utf-8")
    with pytest.raises(UsageError, match="is of an earlier training; leave --resume out"):
        final(corpus, work, made, resume=True)


def test_a_damaged_state_is_told_in_one_sentence(corpus: Path, work: Path) -> None:
    state = work / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(UsageError, match=r"state\.pt is damaged; train again"):
        final(corpus, work, work / "measured.safetensors")


def test_the_measured_checkpoint_is_not_overwritten_by_the_fit_that_rests_on_it(corpus: Path, work: Path) -> None:
    made = work / "measured.safetensors"
    before = made.read_bytes()
    with pytest.raises(UsageError, match="give another --output"):
        run_training([corpus], Recipe(), output=made, work=work, final=made, device="cpu")
    assert made.read_bytes() == before


def test_without_a_run_there_is_nothing_to_fit_finally(corpus: Path, work: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without --final first"):
        final(corpus, tmp_path / "empty", work / "measured.safetensors")


def test_one_command_makes_the_final_fit(corpus: Path, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = work / "final.safetensors"
    run_training([corpus], Recipe(), output=output, work=work, final=work / "measured.safetensors", device="cpu")
    assert "train: 4 speakers, 16 clips" in capsys.readouterr().out
    assert load_checkpoint(output).card.name == "final"


def test_a_split_for_a_fit_on_everyone_is_refused(corpus: Path, work: Path) -> None:
    made, output = work / "measured.safetensors", work / "final.safetensors"
    with pytest.raises(UsageError, match="leave --split or --final out"):
        run_training([corpus], Recipe(), output=output, work=work, final=made, split=work / "split.json", device="cpu")
    assert not output.exists()
