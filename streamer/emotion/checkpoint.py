"""Checkpoints: one safetensors file with encoder, pooling and classifier, and a card that says what it is.

The file's metadata (safetensors allows strings only) holds four keys:

- `format`: `streamer-checkpoint`
- `format_version`: FORMAT_VERSION
- `card`: `CheckpointCard` as JSON
- `tensors_sha256`: digest over names, types, shapes and bytes of all tensors, so that changed weights are found

Weights may be stored as float16 or bfloat16; they are read as float32. Nothing in the file can run code.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from streamer.audio.level import LEVEL_VERSION, TARGET_RMS
from streamer.constants import SAMPLE_RATE
from streamer.emotion.card import CheckpointCard, card_from_json, card_to_json
from streamer.errors import StreamerError

FORMAT = "streamer-checkpoint"
FORMAT_VERSION = 3  # 1: pooled windows without movement; 2: a classifier of three layers
BUNDLED = "bundled"  # what is monitored with
# With bundled's encoder, but a classifier that has not heard the speakers whom the encoder has not heard.
MEASURED = "measured"
_PICKLES = (b"PK\x03\x04", b"\x80")  # torch.save's zip, and a bare pickle of protocol 2 or later
_CURE = 'get it again, or use checkpoint = "bundled"'


class CheckpointError(StreamerError):
    """A checkpoint cannot be read or used; the message is one sentence with the cure."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint as read: weights in float32, on the CPU."""

    card: CheckpointCard
    tensors: Mapping[str, Tensor]
    sha256: str  # of the whole file
    source: str  # the path, or its name if it comes with the program

    def check_against(self, expected: Mapping[str, Tensor]) -> None:
        """Whether the weights are those of a model with the state dict `expected`.

        Raises:
            CheckpointError: a tensor is missing, unknown or of another shape.
        """
        lost, foreign = sorted(expected.keys() - self.tensors.keys()), sorted(self.tensors.keys() - expected.keys())
        if lost or foreign:
            what = f"lacks {lost[0]}" if lost else f"holds {foreign[0]}, which no model of this version has"
            raise CheckpointError(f"The checkpoint {self.source} {what}; {_CURE}.")
        for name, tensor in self.tensors.items():
            if tensor.shape != expected[name].shape:
                raise CheckpointError(
                    f"The checkpoint {self.source} holds {name} as {list(tensor.shape)} where {len(self.card.labels)} "
                    f"labels need {list(expected[name].shape)}; {_CURE}."
                )


def shipped_path(name: str) -> Path:
    """Where a checkpoint that comes with the program lies, `bundled` or `measured`."""
    return Path(str(resources.files("streamer") / "checkpoints" / f"{name}.safetensors"))


def save_checkpoint(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    card: CheckpointCard,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write one checkpoint, or nothing: the file appears under its name when it is complete.

    Args:
        path: where to.
        tensors: a model's `state_dict()`.
        card: what is known of it.
        dtype: how the weights are stored.

    Raises:
        CheckpointError: a weight is not finite in `dtype`, or the card holds an impossible value.
        OSError: the file cannot be written.
    """
    path = Path(path)
    stored = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()}
    _check_finite(stored, str(path), "train again with a lower learning rate")
    try:
        text = card_to_json(card)
    except ValueError as error:
        raise CheckpointError(f"The checkpoint's card cannot be written: {error}; correct that field.") from error
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "card": text,
        "tensors_sha256": tensors_digest(stored),
    }
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_bytes(save(stored, metadata))  # not save_file, whose files only their owner can read
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read and check one checkpoint.

    Args:
        path: a file, or `bundled` or `measured` for those that come with the program.

    Raises:
        CheckpointError: the file is missing, damaged, changed, foreign, of a newer format or for another front end.
    """
    source = str(path)
    file = shipped_path(source) if source in (BUNDLED, MEASURED) else Path(path)
    digest = _file_digest(file, source)
    metadata, tensors = _read(file, source)
    card = _card(metadata, source)
    if tensors_digest(tensors) != metadata.get("tensors_sha256"):
        raise CheckpointError(f"The weights in the checkpoint {source} are not those that were saved; {_CURE}.")
    _check_finite(tensors, source, _CURE)
    return Checkpoint(card, {name: tensor.float() for name, tensor in tensors.items()}, digest, source)


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, types, shapes and bytes of all tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _file_digest(file: Path, source: str) -> str:
    """The file's SHA-256; says early and plainly when it is not there or could run code."""
    try:
        with file.open("rb") as stream:
            head = stream.read(9)
            stream.seek(0)
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise CheckpointError(
            f'There is no checkpoint {source}; give the path of one, or use checkpoint = "{BUNDLED}".'
        ) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"The checkpoint {source} cannot be read ({reason}); {_CURE}.") from error
    # A safetensors file begins with eight bytes of its header's length, which may look like a pickle, and then a brace.
    if head.startswith(_PICKLES) and head[8:] != b"{":
        raise CheckpointError(
            f"The checkpoint {source} is a Python pickle, which could run code, and was not opened; "
            'give a safetensors checkpoint, or use checkpoint = "bundled".'
        )
    return digest


def _read(file: Path, source: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors as stored."""
    try:
        with safe_open(file, "pt") as opened:
            metadata: dict[str, str] = opened.metadata() or {}
            _check_format(metadata, source)
            return metadata, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"The checkpoint {source} is damaged or no safetensors file; {_CURE}.") from error


def _check_format(metadata: Mapping[str, str], source: str) -> None:
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"The file {source} holds weights, but not a checkpoint of this program; "
            'give one that `streamer train` wrote, or use checkpoint = "bundled".'
        )
    version = metadata.get("format_version", "")
    if version != str(FORMAT_VERSION):
        older = version.isdecimal() and int(version) < FORMAT_VERSION
        raise CheckpointError(
            f"The checkpoint {source} has format version {version!r:.20} and this program reads {FORMAT_VERSION}; "
            f'{"train it again" if older else "update streamer"}, or use checkpoint = "bundled".'
        )


def _card(metadata: Mapping[str, str], source: str) -> CheckpointCard:
    try:
        card = card_from_json(metadata.get("card", ""))
    except ValueError as error:
        raise CheckpointError(f"The card of the checkpoint {source} cannot be read ({error}); {_CURE}.") from error
    wanted = {"sample_rate_hz": SAMPLE_RATE, "level_version": LEVEL_VERSION, "level_target_rms": TARGET_RMS}
    for name, value in wanted.items():
        if getattr(card, name) != value:
            raise CheckpointError(
                f"The checkpoint {source} was trained with {name} {getattr(card, name)} and this program has {value}; "
                'use a checkpoint of this version, or checkpoint = "bundled".'
            )
    return card


def _check_finite(tensors: Mapping[str, Tensor], source: str, cure: str) -> None:
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise CheckpointError(f"The checkpoint {source} holds {name} as {tensor.dtype}, not as floats; {cure}.")
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"The checkpoint {source} holds values that are not finite in {name}; {cure}.")
