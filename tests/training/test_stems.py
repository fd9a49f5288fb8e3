"""When cached features serve again, and when they are computed anew."""

from dataclasses import replace
from pathlib import Path

import pytest

from streamer.corpora.augment import Augmentation
from streamer.corpora.splits import Split
from streamer.training.recipe import Recipe
from tests.training.small_run import QUICK, prepared


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
