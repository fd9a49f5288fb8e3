"""Make `import encodec` work where torchaudio cannot be loaded.

The encodec package imports torchaudio at module level, though only its helpers for files, resampling and training
losses use it. PyPI's torchaudio is linked against CUDA, so that beside a CPU build of torch its import fails
(`OSError: Could not load this library`), and encodec's with it. In that case, and only then, a stub replaces
torchaudio.

Nothing is imported before encodec is: a finder at the head of `sys.meta_path` that never finds a module waits for the
name `encodec` and tries torchaudio first. Packages that import torchaudio earlier get it unchanged.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _TorchaudioStub(ModuleType):
    """An empty torchaudio: `hasattr` is False, and the error on use says why."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("torchaudio", "Replaces torchaudio, which cannot be loaded here.")
        # importlib.util.find_spec raises ValueError for a loaded module without a spec.
        self.__spec__ = ModuleSpec("torchaudio", loader=None, origin="stub by streamer")
        self._cause = f"{type(cause).__name__}: {cause}"

    def __getattr__(self, name: str) -> object:
        raise AttributeError(
            f"torchaudio.{name} is not available, because torchaudio cannot be loaded ({self._cause}); "
            "install the torchaudio that was built for this torch to use it."
        )


class _BeforeEncodec(MetaPathFinder):
    """Tries torchaudio when encodec is about to be imported; never finds a module itself."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname == "encodec":
            _ensure_torchaudio()


def _ensure_torchaudio() -> None:
    """Import torchaudio, or put a stub in its place."""
    try:
        import_module("torchaudio")
    except Exception as error:  # absent, linked against another torch, or too old for it: each raises something else
        for name in [name for name in sys.modules if name.startswith("torchaudio.")]:
            del sys.modules[name]  # left behind by the failed import
        sys.modules["torchaudio"] = _TorchaudioStub(error)


def prepare_encodec_import() -> None:
    """Make a plain `import encodec` work in this process. Imports nothing itself."""
    if not any(isinstance(finder, _BeforeEncodec) for finder in sys.meta_path):
        sys.meta_path.insert(0, _BeforeEncodec())


def import_encodec() -> ModuleType:
    """Import the encodec package, with or without a working torchaudio, and return it."""
    prepare_encodec_import()
    return import_module("encodec")
