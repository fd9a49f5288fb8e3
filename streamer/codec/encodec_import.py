"""Makes `import encodec` work where torchaudio does not load.

The encodec package imports torchaudio at its top, though only its helpers for files, resampling and training losses use
it. The registry's torchaudio is linked against CUDA, so that beside a CPU build of torch its import fails (`OSError:
Could not load this library`), and encodec's with it. Here a stub takes torchaudio's place in that case, and only then.

Nothing is imported until somebody imports encodec: a finder that finds nothing sits at the head of `sys.meta_path`,
waits for the name `encodec`, and sees to torchaudio first. Packages that ask for torchaudio before see it as it is.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _TorchaudioStub(ModuleType):
    """A torchaudio without contents: `hasattr` answers no, use explains itself."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("torchaudio", "Stands in for torchaudio, which cannot be loaded here.")
        # importlib.util.find_spec raises ValueError for a loaded module without a spec.
        self.__spec__ = ModuleSpec("torchaudio", loader=None, origin="stub by streamer")
        self._cause = f"{type(cause).__name__}: {cause}"

    def __getattr__(self, name: str) -> object:
        raise AttributeError(
            f"torchaudio.{name} is not here, because torchaudio cannot be loaded ({self._cause}); "
            "install the torchaudio that was built for this torch to use it."
        )


class _BeforeEncodec(MetaPathFinder):
    """Sees to torchaudio when encodec is about to be imported; finds nothing itself."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname == "encodec":
            _ensure_torchaudio()


def _ensure_torchaudio() -> None:
    try:
        import_module("torchaudio")
    except Exception as error:  # absent, linked against another torch, or older than it: each fails in its own way
        for name in [name for name in sys.modules if name.startswith("torchaudio.")]:
            del sys.modules[name]  # what a half-done import leaves behind
        sys.modules["torchaudio"] = _TorchaudioStub(error)


def prepare_encodec_import() -> None:
    """From now on a plain `import encodec` works in this process. Costs nothing until then."""
    if not any(isinstance(finder, _BeforeEncodec) for finder in sys.meta_path):
        sys.meta_path.insert(0, _BeforeEncodec())


def import_encodec() -> ModuleType:
    """The encodec package, imported with or without a working torchaudio."""
    prepare_encodec_import()
    return import_module("encodec")
