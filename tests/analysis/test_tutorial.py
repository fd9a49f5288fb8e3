"""The tutorial works as it is written."""

import re
from importlib import resources

import numpy as np
import pytest
import soundfile

from streamer import EmotionDetectionModel
from tests.analysis import made


def blocks():
    """Return the Python blocks of the page as one session, with the line numbers of the page."""
    text = (resources.files("streamer.analysis") / "README.md").read_text(encoding="utf-8")
    code = [""] * len(text.splitlines())
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        first = text[: block.start(1)].count("\n")
        lines = block[1].splitlines()
        code[first : first + len(lines)] = lines
    return "\n".join(code)


@pytest.mark.slow
def test_the_tutorial_runs_from_the_folder_to_the_trained_head(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("streamer.analysis.project.find_spec", lambda name: None)  # UMAP compiles for half a minute
    monkeypatch.chdir(tmp_path)
    for number in range(12):
        label, speaker = ("low", "high")[number % 2], ("ann", "bob", "eve")[number // 4]
        made.write(tmp_path / "recordings" / speaker / label / f"{number}.wav", 0.4, seed=number)
    stereo = np.random.default_rng(1).normal(0, 0.1, (19_200, 2))
    soundfile.write(tmp_path / "recordings" / "ann" / "low" / "stereo.wav", stereo, 48_000)  # as phones record
    with pytest.warns(UserWarning, match="48,?000"):
        exec(compile(blocks(), "README.md", "exec"), {"__name__": "tutorial"})
    printed = capsys.readouterr().out
    assert "recordings of eve, the held-out speaker" in printed
    assert (tmp_path / "embeddings" / "analysis" / "report.html").stat().st_size > 10_000
    mine = EmotionDetectionModel.from_checkpoint(tmp_path / "my-labels.safetensors")
    assert mine.labels == ("high", "low")
    assert mine.highpass_hz == EmotionDetectionModel.from_checkpoint("bundled").highpass_hz


def test_the_page_has_code():
    assert blocks().count("import") > 5


@pytest.mark.parametrize("name", ["run_embed", "run_analyze", "parameter_groups", "unfreeze_encoder"])
def test_the_tutorial_shows_the_main_entry_points(name):
    assert name in blocks()
