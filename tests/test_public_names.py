"""The names that `streamer` exports, and what importing it costs."""

import subprocess
import sys

import pytest

import streamer


def test_everything_that_is_promised_can_be_imported_and_nothing_else_is():
    assert set(dir(streamer)) == set(streamer.__all__)
    assert set(streamer.__all__) == {*streamer._HOME, "__version__"}
    for name in streamer.__all__:
        assert getattr(streamer, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        streamer.nothing_like_it  # noqa: B018


def test_to_import_the_package_or_its_analysis_loads_nothing_heavy():
    heavy = "{'torch', 'sklearn', 'matplotlib', 'umap', 'encodec'}"
    code = f"import sys, streamer, streamer.analysis, streamer.commands; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
