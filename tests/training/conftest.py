"""What the tests of this folder share: a corpus, and the caches of a run on it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.training_corpus import write_corpus
from tests.training.small_run import QUICK, prepared


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four speakers, two emotions; read only."""
    return write_corpus(tmp_path_factory.mktemp("data") / "corpus")


@pytest.fixture(scope="session")
def caches(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with decoded audio and the cached features of QUICK, and of QUICK with tune `deep`; read only."""
    folder = tmp_path_factory.mktemp("caches")
    for tune in ("upper", "deep"):
        prepared(corpus, folder, replace(QUICK, tune=tune))
    return folder


@pytest.fixture
def work(caches: Path, tmp_path: Path) -> Path:
    """A work folder of the test's own, in which nothing is to be decoded or encoded but by an unusual recipe."""
    folder = tmp_path / "work"
    folder.mkdir()
    for pattern in ("audio*", "stem-*"):
        for path in caches.glob(pattern):
            shutil.copy(path, folder)
    return folder
