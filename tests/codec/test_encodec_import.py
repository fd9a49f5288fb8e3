"""`import encodec` works whatever torchaudio does. Each case runs in a Python of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from streamer.codec import encodec_import

WORKING = "sample = 'real'"
BROKEN = "from torchaudio import inner\nraise OSError('Could not load this library')"
OLD = "raise AttributeError('torch has no such attribute')"


def python(code, *options, path=()):
    """Runs `code` with `path` in front of the import path; returns what it prints."""
    code = f"import sys; sys.path[:0] = {[str(p) for p in path]!r}\n{code}"
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# The module alone, without torch behind it, and a Python without site-packages: quick, and only the fakes are there.
ALONE = f"""
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("encodec_import", {encodec_import.__file__!r})
ours = module_from_spec(spec); spec.loader.exec_module(ours)
ours.prepare_encodec_import()
"""


@pytest.fixture
def fakes(tmp_path):
    """Writes an encodec that needs torchaudio, and a torchaudio with the given contents."""

    def write(torchaudio):
        (tmp_path / "encodec.py").write_text("import torchaudio\n")
        if torchaudio is not None:
            (tmp_path / "torchaudio").mkdir()
            (tmp_path / "torchaudio" / "__init__.py").write_text(torchaudio)
            (tmp_path / "torchaudio" / "inner.py").touch()

        def run(code):
            return python(ALONE + code, "-S", path=[tmp_path])

        return run

    return write


def test_a_plain_import_works_once_a_codec_name_was_imported_from_streamer():
    code = """
from streamer import StreamingEncoder
print("torchaudio" in sys.modules, "encodec" in sys.modules)
import warnings; warnings.simplefilter("ignore")
import encodec
model = encodec.EncodecModel.encodec_model_24khz(pretrained=False)
print(StreamingEncoder.from_encodec(model).batch_size)
"""
    assert python(code, path=[Path(__file__).parents[2]]) == ["False", "False", "1"]


@pytest.mark.parametrize("torchaudio", [None, BROKEN, OLD], ids=["absent", "does not load", "too old for torch"])
def test_encodec_imports_without_a_torchaudio(fakes, torchaudio):
    run = fakes(torchaudio)
    assert run("import encodec; print('fine', hasattr(encodec.torchaudio, 'load'))") == ["fine", "False"]


def test_without_the_module_encodec_does_not_import(fakes, tmp_path):
    """Guards the tests above: the fakes fail as the real ones do."""
    fakes(BROKEN)
    code = "try:\n  import encodec\nexcept OSError: print('fails')"
    assert python(code, "-S", path=[tmp_path]) == ["fails"]


def test_a_working_torchaudio_is_left_alone(fakes):
    run = fakes(WORKING)
    assert run("import encodec; print(encodec.torchaudio.sample)") == ["real"]


def test_torchaudio_is_not_touched_before_encodec_is_imported(fakes):
    run = fakes(BROKEN)
    assert run("print('torchaudio' in sys.modules)\ntry: import torchaudio\nexcept OSError: print('as it is')") == [
        "False", "as", "it", "is",
    ]  # fmt: skip


def test_packages_that_look_for_torchaudio_find_a_module_without_contents(fakes):
    run = fakes(BROKEN)
    code = """
import encodec
from importlib.util import find_spec
print(find_spec("torchaudio").name, getattr(sys.modules["torchaudio"], "load", "nothing"))
print(sorted(name for name in sys.modules if name.startswith("torchaudio")))
try: import torchaudio.transforms
except ModuleNotFoundError: print("no transforms")
"""
    assert run(code) == ["torchaudio", "nothing", "['torchaudio']", "no", "transforms"]


def test_use_of_the_stub_says_why_and_what_to_do(fakes):
    run = fakes(BROKEN)
    printed = " ".join(
        run("import encodec\ntry: encodec.torchaudio.load('x.wav')\nexcept AttributeError as e: print(e)")
    )
    assert printed == (
        "torchaudio.load is not available, because torchaudio cannot be loaded (OSError: Could not load this library); "
        "install the torchaudio that was built for this torch to use it."
    )


def test_preparing_twice_prepares_once(fakes):
    run = fakes(WORKING)
    assert run("n = len(sys.meta_path); ours.prepare_encodec_import(); print(len(sys.meta_path) - n)") == ["0"]


def test_import_encodec_gives_the_package():
    assert encodec_import.import_encodec().__name__ == "encodec"
