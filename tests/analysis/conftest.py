"""Fixtures of the analysis tests."""

import pytest

from tests.analysis.made import write


@pytest.fixture(autouse=True)
def _without_umap(monkeypatch):
    """Hide UMAP, which compiles for half a minute."""
    monkeypatch.setattr("streamer.analysis.project.find_spec", lambda name: None)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Ten recordings of eight lengths, two speakers, two labels."""
    root = tmp_path_factory.mktemp("recordings")
    for number in range(10):
        label = "calm" if number % 2 else "angry"
        speaker = "ann" if number < 5 else "bob"
        write(root / speaker / label / f"{number}.wav", 0.05 + 0.06 * min(number, 7), seed=number)
    return root
