"""Load torch's shared libraries while other threads run.

`import torch` loads them with the interpreter's lock held: 0.4 GB to relocate, and to read where they are not cached.
On a busy machine no other Python thread runs for seconds: the screen stands still, and no signal is heeded.
"""

import ctypes
import os
import sys
from importlib.util import find_spec
from pathlib import Path

# In this order, and the first with its symbols for all, as `import torch` does.
_LIBRARIES = (("libtorch_global_deps", "RTLD_GLOBAL"), ("libtorch", "RTLD_LOCAL"))


def load_torch_libraries() -> None:
    """Load the libraries that `import torch` is about to; what cannot be loaded is left to it, and to its error."""
    if os.name != "posix" or "torch" in sys.modules:
        return
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent / "lib"
    for name, reach in _LIBRARIES:
        open_library(folder / f"{name}{'.dylib' if sys.platform == 'darwin' else '.so'}", getattr(os, reach))


def open_library(path: Path, reach: int) -> bool:
    """Load one library without the interpreter's lock; return whether that worked.

    `ctypes.CDLL(path)` keeps the lock while it loads. Calling the C library's own `dlopen` gives it away, as every call
    of a foreign function does.
    """
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    return dlopen(os.fsencode(path), os.RTLD_NOW | reach) is not None
