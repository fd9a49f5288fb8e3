"""What a run leaves in its work folder, and what is refused there."""

from pathlib import Path

import pytest
import torch

from streamer.errors import UsageError
from streamer.training.run_folder import RunFolder
from streamer.training.trainer import build_or_restore
from tests.support.training_corpus import write_corpus
from tests.training.small_run import CPU, QUICK, opened


def test_a_run_comes_back_from_its_folder(corpus: Path, tmp_path: Path) -> None:
    created = opened(corpus, tmp_path)
    assert RunFolder.load(tmp_path, created.corpora) == created


def test_a_new_run_removes_the_state_of_an_earlier_one_and_keeps_its_caches(corpus: Path, tmp_path: Path) -> None:
    for name in ("state.pt", "best.pt", "log.txt", "audio.bin"):
        (tmp_path / name).touch()
    opened(corpus, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"audio.bin", "recipe.json", "split.json", "corpora.json"}


def test_what_cannot_be_resumed_is_refused_with_the_reason(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no training to resume"):
        opened(corpus, tmp_path / "empty", resume=True)
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(UsageError, match="damaged"):
        opened(corpus, tmp_path, resume=True)


def test_a_run_saved_by_an_earlier_version_is_resumed(corpus: Path, tmp_path: Path) -> None:
    """The keys of `recipe.json` and of `state.pt` are those of the first version."""
    run = opened(corpus, tmp_path)
    assert '"settling": 5' in (tmp_path / "recipe.json").read_text()
    run.save(build_or_restore(run, CPU))
    stored = torch.load(tmp_path / "state.pt", weights_only=True)
    assert list(stored) == ["student", "averaged", "optimizers", "state"]
    assert list(stored["state"]) == ["epoch", "best", "best_epoch", "seconds", "steps"]
    assert {name.split(".")[0] for name in stored["student"]} == {
        "model",
        "frame_answer",
        "descriptor_answer",
        "utterance_answer",
        "opinion_answer",
    }
    assert opened(corpus, tmp_path, resume=True).recipe == QUICK


@pytest.mark.parametrize("state", [b"", b"cut off", "other weights"])
def test_a_state_that_cannot_be_restored_is_refused_in_one_sentence(
    corpus: Path, tmp_path: Path, state: bytes | str
) -> None:
    run = opened(corpus, tmp_path)
    if isinstance(state, bytes):
        (tmp_path / "state.pt").write_bytes(state)
    else:  # as of a version with other layers
        run.save(build_or_restore(run, CPU))
        stored = torch.load(tmp_path / "state.pt", weights_only=True)
        stored["student"]["another"] = stored["student"].pop("model.classifier.weight")
        torch.save(stored, tmp_path / "state.pt")
    with pytest.raises(UsageError, match=r"state\.pt is damaged or of another version; leave --resume out"):
        build_or_restore(opened(corpus, tmp_path, resume=True), CPU)


def test_a_run_is_resumed_with_the_corpora_it_was_trained_on(corpus: Path, tmp_path: Path) -> None:
    opened(corpus, tmp_path / "work")
    changed = write_corpus(tmp_path / "changed")
    next(changed.iterdir()).unlink()
    with pytest.raises(UsageError, match="trained on ravdess"):
        opened(changed, tmp_path / "work", resume=True)
