"""The page of the library: every public name has a snippet, and all of them run as they stand there."""

import re
import warnings
from pathlib import Path

import pytest

import streamer
from streamer.codec.encodec_import import import_encodec
from streamer.codec.waveform import AudioConversionWarning
from tests.codec.encodec_models import mono_model

PAGE = Path(streamer.__file__).with_name("LIBRARY.md")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(streamer.__all__) - {"__version__"}))
def test_every_public_name_has_a_snippet(name: str) -> None:
    assert any(re.search(rf"\b{name}\b[.(]", snippet) for snippet in SNIPPETS)


@pytest.mark.slow
def test_the_snippets_run_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    offline = mono_model()
    monkeypatch.setattr(import_encodec().EncodecModel, "encodec_model_24khz", staticmethod(lambda: offline))
    session: dict[str, object] = {"__name__": "library"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioConversionWarning)
        for snippet in SNIPPETS:
            exec(compile(snippet, str(PAGE), "exec"), session)
    printed = capsys.readouterr().out
    assert "torch.Size([1, 8, 75])" in printed
    assert "emotion_started" in printed
