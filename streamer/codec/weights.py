"""Encoder weights out of files: the package's key layout and Hugging Face's, with weight norm or without.

No file can run code: safetensors, or torch's format read with `weights_only=True`.
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
"""Meta's pretrained 24 kHz model: encoder, decoder and codebooks. Meta has not stated a licence for it."""


class WeightsError(StreamerError):
    """A file does not hold what an encoder needs."""


def fetch_pretrained(folder: Path | None = None) -> Path:
    """Meta's pretrained model on this machine, downloaded once (93 MB), with a progress bar where there is a terminal.

    Raises:
        DownloadError: it cannot be fetched, or is damaged.
    """
    with progress_bar(META_24KHZ) if sys.stderr.isatty() else nullcontext() as on_progress:
        return fetch(META_24KHZ, folder, on_progress)


def load_encoder(path: Path) -> Encoder:
    """The encoder in a file of weights, float32 on the CPU, ready for inference. Its other tensors are passed over.

    Raises:
        WeightsError: the file is not there, cannot be read, or holds no encoder of a causal 24 kHz model.
    """
    weights = encoder_weights(read_tensors(path))
    encoder = Encoder()
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:
        raise WeightsError(
            f"{path} does not hold the encoder of a causal 24 kHz EnCodec model ({_first_complaint(error)}); "
            "give a file of encodec_24khz."
        ) from error
    return encoder.eval()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file by their keys, on the CPU: `.safetensors`, or torch's own format under any other name.

    Raises:
        WeightsError: the file is not there or is not such a file.
    """
    if not path.is_file():
        raise WeightsError(f"The weights {path} do not exist; give the path of a .safetensors or .th file.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path} cannot be read as weights ({_first_complaint(error)}); "
            "give a .safetensors file or a state_dict saved by torch."
        ) from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__} instead of a state_dict; save model.state_dict().")
    return {key: tensor for key, tensor in content.items() if isinstance(tensor, Tensor)}


def encoder_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What belongs to the encoder among `tensors`, in float32 under the keys of `Encoder`, weight norm folded.

    The keys may be a whole model's (`encoder.…`) or an encoder's, in the layout of the encodec package
    (`model.0.conv.conv.weight_g`) or of Hugging Face (`layers.0.conv.parametrizations.weight.original0`).
    """
    nested = {key.removeprefix("encoder."): tensor for key, tensor in tensors.items() if key.startswith("encoder.")}
    ours = {_package_key(key): tensor.float() for key, tensor in (nested or tensors).items()}
    return fold_weight_norm({key: tensor for key, tensor in ours.items() if key.startswith("model.")})


def _package_key(key: str) -> str:
    """Hugging Face's `layers.1.block.3.conv.bias` as the package's `model.1.block.3.conv.conv.bias`."""
    if not key.startswith("layers."):
        return key
    return re.sub(r"\.conv\.", ".conv.conv.", "model." + key.removeprefix("layers."), count=1)


def _first_complaint(error: Exception) -> str:
    """The first line of a message that has something to say, short enough for one sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[1] if len(lines) > 1 and lines[0].endswith(":") else next(iter(lines), type(error).__name__)
    return text if len(text) <= 120 else f"{text[:117]}…"
