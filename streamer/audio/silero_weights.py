"""The weights of silero's 16 kHz network, read from the TorchScript archive in its package; no code of it runs.

The archive is a zip file: a pickle of the modules' attributes, and one file with the numbers of each tensor. The
package is not imported, since that sets torch to one thread for the whole process. Its safetensors file is not used:
in version 6.2.3 it holds weights of another training, whose probabilities differ by up to 0.85.
"""

import io
import pickle
import zipfile
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from streamer.errors import StreamerError
from streamer.installing import pip_install

_ARCHIVE = Path("data") / "silero_vad.jit"  # within the package silero_vad
_NETWORK = "_model."  # the 16 kHz network; `_model_8k.` is the other


def load_weights() -> dict[str, Tensor]:
    """Return the 16 kHz network's weights, float32, by their names in the archive (`decoder.rnn.weight_ih`).

    Raises:
        StreamerError: the package or its archive is missing, or is no longer what it was.
    """
    spec = find_spec("silero_vad")
    places = [] if spec is None else spec.submodule_search_locations or []
    try:
        archive = next(Path(place) / _ARCHIVE for place in places)
        return {name.removeprefix(_NETWORK): tensor for name, tensor in _tensors(_read(archive), _NETWORK)}
    except (StopIteration, OSError, KeyError, ValueError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise StreamerError(
            "Voice activity needs the network in the package silero-vad, which cannot be read; install it anew: "
            f"{pip_install()} --force-reinstall 'silero-vad>=6.2,<7'."
        ) from error


class _Module:
    """A module of the archive: its attributes alone."""


class _Unpickler(pickle.Unpickler):
    """Reads the modules' attributes; of everything that a pickle may call, only what builds tensors and containers."""

    def __init__(self, archive: zipfile.ZipFile, root: PurePosixPath) -> None:
        super().__init__(io.BytesIO(archive.read(str(root / "data.pkl"))))
        self._archive, self._root = archive, root
        self._known: dict[tuple[str, str], Callable[..., object]] = {
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
            ("torch", "FloatStorage"): _Module,  # float32
            ("torch.jit._pickle", "build_intlist"): list,
            ("collections", "OrderedDict"): dict,
        }

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        if module.startswith("__torch__."):
            return _Module
        if (module, name) not in self._known:
            raise pickle.UnpicklingError(f"an archive of modules holds no {module}.{name}")
        return self._known[module, name]

    def persistent_load(self, pid: tuple[str, object, str, str, int]) -> bytes:
        return self._archive.read(str(self._root / "data" / pid[2]))


def _rebuild(numbers: bytes, offset: int, shape: Sequence[int], stride: Sequence[int], *_: object) -> Tensor:
    if not numbers:
        return torch.zeros(shape)
    return torch.frombuffer(bytearray(numbers), dtype=torch.float32).as_strided(shape, stride, offset)


def _read(path: Path) -> object:
    with zipfile.ZipFile(path) as archive:
        root = next(PurePosixPath(name).parent for name in archive.namelist() if name.endswith("/data.pkl"))
        return _Unpickler(archive, root).load()


def _tensors(module: object, wanted: str, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of the modules within `module` whose names begin with `wanted`, by their names."""
    for name, value in vars(module).items():
        if isinstance(value, Tensor) and prefix.startswith(wanted):
            yield prefix + name, value
        elif isinstance(value, _Module):
            yield from _tensors(value, wanted, f"{prefix}{name}.")
