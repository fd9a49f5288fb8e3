"""Load encoder weights from files, in the key layout of `encodec` or Hugging Face, with or without weight norm.

No file can run code: it is safetensors, or torch's format read with `weights_only=True`.
"""

import pickle
import re
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from streamer.codec.download import RemoteFile, fetch, progress_bar
from streamer.codec.encoder import Encoder, fold_weight_norm
from streamer.errors import StreamerError

META_24KHZ = RemoteFile(
    url="https://dl.fbaipublicfiles.com/encodec/v0/encodec_24khz-d7cc33bc.th",
    size=93_171_529,
    sha256="d7cc33bcf1aad7f2dad9836f36431530744abeace3ca033005e3290ed4fa47bf",
)
"""Meta's pretrained 24 kHz model: encoder, decoder and codebooks. Meta states no licence for it."""


class WeightsError(StreamerError):
    """A file cannot be read or does not hold the weights of an encoder."""


def fetch_pretrained(folder: Path | None = None) -> Path:
    """Return the path of Meta's pretrained model, downloaded once (93 MB), with a progress bar on a terminal.

    Raises:
        DownloadError: it cannot be downloaded, or is damaged.
    """
    with progress_bar(META_24KHZ) if sys.stderr.isatty() else nullcontext() as on_progress:
        return fetch(META_24KHZ, folder, on_progress)


def load_encoder(path: Path) -> Encoder:
    """Return the encoder in a file of weights, float32 on the CPU, in evaluation mode. Other tensors are ignored.

    Raises:
        WeightsError: the file is missing, cannot be read, or holds no encoder of a causal 24 kHz model.
    """
    weights = encoder_weights(read_tensors(path))
    encoder = Encoder()
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:
        raise WeightsError(
            f"{path} does not hold the encoder of a causal 24 kHz EnCodec model ({_summary(error)}); "
            "give a file of encodec_24khz."
        ) from error
    return encoder.eval()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a file by key, on the CPU: from `.safetensors`, or torch's format with any other suffix.

    Raises:
        WeightsError: the file is missing or of another format.
    """
    if not path.is_file():
        raise WeightsError(f"The weights {path} do not exist; give the path of a .safetensors or .th file.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path} cannot be read as weights ({_summary(error)}); "
            "give a .safetensors file or a state_dict saved by torch."
        ) from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__} instead of a state_dict; save model.state_dict().")
    return {key: tensor for key, tensor in content.items() if isinstance(tensor, Tensor)}


def encoder_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder's weights among `tensors`, in float32, keyed as in `Encoder`, weight norm folded.

    The keys may be a whole model's (`encoder.…`) or an encoder's, in the layout of the encodec package
    (`model.0.conv.conv.weight_g`) or of Hugging Face (`layers.0.conv.parametrizations.weight.original0`).
    """
    nested = {key.removeprefix("encoder."): tensor for key, tensor in tensors.items() if key.startswith("encoder.")}
    renamed = {_package_key(key): tensor.float() for key, tensor in (nested or tensors).items()}
    return fold_weight_norm({key: tensor for key, tensor in renamed.items() if key.startswith("model.")})


def _package_key(key: str) -> str:
    """Rename Hugging Face's `layers.1.block.3.conv.bias` to the package's `model.1.block.3.conv.conv.bias`."""
    if not key.startswith("layers."):
        return key
    return re.sub(r"\.conv\.", ".conv.conv.", "model." + key.removeprefix("layers."), count=1)


def _summary(error: Exception) -> str:
    """Return the first informative line of the message, at most 120 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[1] if len(lines) > 1 and lines[0].endswith(":") else next(iter(lines), type(error).__name__)
    return text if len(text) <= 120 else f"{text[:117]}…"
