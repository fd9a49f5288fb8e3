"""The names that `streamer` exports, and what importing it costs."""

import inspect
import subprocess
import sys

import pytest

import streamer

NAMES = {
    "EmotionDetectionModel",
    "Monitor",
    "Quantizer",
    "StreamingEncoder",
    "StreamingQuantizer",
    "__version__",
    "convert_audio",
    "encoder_embeddings",
    "global_embeddings",
    "multi_scale_embeddings",
    "quantized_codes",
    "quantized_embeddings",
}


def test_these_names_are_public_and_no_others():
    assert set(streamer.__all__) == NAMES
    assert streamer.__all__ == sorted(streamer.__all__)
    values = {name: getattr(streamer, name) for name in NAMES - {"__version__"}}
    assert [name for name, value in values.items() if value.__name__ != name or not inspect.getdoc(value)] == []


def test_the_monitor_is_imported_without_torch():
    code = "import sys; from streamer import Monitor; print([m for m in ('torch', 'textual') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_everything_that_is_promised_can_be_imported_and_nothing_else_is():
    assert set(dir(streamer)) == set(streamer.__all__)
    assert set(streamer.__all__) == {*streamer._HOME, "__version__"}
    for name in streamer.__all__:
        assert getattr(streamer, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        streamer.nothing_like_it  # noqa: B018


def test_to_import_the_package_or_its_analysis_loads_nothing_heavy():
    heavy = "{'torch', 'sklearn', 'matplotlib', 'umap', 'encodec', 'ray'}"
    names = "streamer, streamer.analysis, streamer.commands, streamer.cli, streamer.fleet"
    code = f"import sys, {names}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
