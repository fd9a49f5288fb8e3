"""Read and write checkpoints: one safetensors file with encoder, pooling and classifier weights, and a card.

The file's metadata (safetensors allows strings only) holds four keys:

- `format`: `streamer-checkpoint`
- `format_version`: FORMAT_VERSION
- `card`: `CheckpointCard` as JSON
- `tensors_sha256`: digest over names, types, shapes and bytes of all tensors, so that changed weights are found

Weights may be stored as float16 or bfloat16; they are read as float32. Nothing in the file can run code.

`measured` has `bundled`'s encoder and pooling, so that only its classifier is shipped: `measured-head.safetensors`, 39
kB in place of 15 MB. A head's metadata has the format `streamer-head`; its `tensors_sha256` is that of the whole model,
head and the rest of `base` joined, and `checkpoint_sha256` is the digest of the file that the head was cut from.
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
from streamer.replacing import replacing

FORMAT = "streamer-checkpoint"
HEAD_FORMAT = "streamer-head"
FORMAT_VERSION = 3  # 1: pooled windows without movement; 2: a classifier of three layers
BUNDLED = "bundled"  # the default
# Bundled's encoder, with a classifier that was not trained on the encoder's held-out speakers either.
MEASURED = "measured"
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_PICKLES = (b"PK\x03\x04", b"\x80")  # torch.save's zip, and a bare pickle of protocol 2 or later
_CURE = 'get it again, or use checkpoint = "bundled"'


class CheckpointError(StreamerError):
    """A checkpoint cannot be read or used; the message is one sentence with the cure."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint as read: weights in float32, on the CPU."""

    card: CheckpointCard
    tensors: Mapping[str, Tensor]
    sha256: str  # of the whole file; of the file that the head was cut from where only a head is shipped
    source: str  # the path, or its name if it comes with the program

    def check_against(self, expected: Mapping[str, Tensor]) -> None:
        """Check that the weights fit a model with the state dict `expected`.

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
    """Return the path of a file that comes with the program: `bundled`, or `measured-head`."""
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
        card: describes it.
        dtype: how the weights are stored.

    Raises:
        CheckpointError: a weight is not finite in `dtype`, or the card holds an impossible value.
        OSError: the file cannot be written.
    """
    path = Path(path)
    stored = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()}
    _check_finite(stored, str(path), "train again with a lower learning rate")
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "card": _card_text(card),
        "tensors_sha256": tensors_digest(stored),
    }
    _write(path, stored, metadata)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read and check one checkpoint.

    Args:
        path: a file, or `bundled` or `measured` for those that come with the program.

    Raises:
        CheckpointError: the file is missing, damaged, changed, foreign, of a newer format or for another front end.
    """
    source = str(path)
    if source == MEASURED:
        metadata, tensors = _joined(shipped_path(f"{MEASURED}-head"), source)
        digest = metadata.get("checkpoint_sha256", "")
    else:
        file = shipped_path(source) if source == BUNDLED else Path(path)
        digest = _file_digest(file, source)
        metadata, tensors = _read(file, source)
    card = _card(metadata, source)
    _check_finite(tensors, source, _CURE)
    if tensors_digest(tensors) != metadata.get("tensors_sha256"):
        raise CheckpointError(f"The weights in the checkpoint {source} are not those that were saved; {_CURE}.")
    return Checkpoint(card, {name: tensor.float() for name, tensor in tensors.items()}, digest, source)


def save_head(path: Path, whole: Path, base: str = BUNDLED) -> None:
    """Write what the checkpoint file `whole` adds to the shipped `base`: the tensors that differ, and its card.

    Raises:
        CheckpointError: one of the two cannot be read, or their tensors have other names.
    """
    source = str(whole)
    digest = _file_digest(whole, source)
    metadata, tensors = _read(whole, source)
    _, shared = _read(shipped_path(base), base)
    if tensors.keys() != shared.keys():
        raise CheckpointError(f"The checkpoint {source} is of another architecture than {base}; ship it as a whole.")
    head = {name: tensor for name, tensor in tensors.items() if not _same_bits(tensor, shared[name])}
    _write(path, head, metadata | {"format": HEAD_FORMAT, "base": base, "checkpoint_sha256": digest})


def rewrite_card(path: Path, card: CheckpointCard) -> None:
    """Replace the card of the checkpoint or head file at `path`; its tensors stay as they are, bit for bit.

    The file's SHA-256 changes, by which voice profiles and caches know a checkpoint.

    Raises:
        CheckpointError: the file cannot be read, or the card holds an impossible value.
    """
    source = str(path)
    _file_digest(path, source)
    with safe_open(path, "pt") as file:
        kind = (file.metadata() or {}).get("format", "")
    metadata, tensors = _read(path, source, HEAD_FORMAT if kind == HEAD_FORMAT else FORMAT)
    _write(path, tensors, metadata | {"card": _card_text(card)})


def is_bare_weights(path: Path) -> bool:
    """Return whether `path` is a file of an encoder's weights, without the card of a checkpoint.

    False for a missing file, and for a damaged `.safetensors` file, which `load_checkpoint` refuses with the reason.
    """
    if not path.is_file():
        return False
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("format") not in (FORMAT, HEAD_FORMAT)
    except SafetensorError:
        return path.suffix != ".safetensors"  # it may be torch's own format
    except OSError:
        return False


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over the names, types, shapes and bytes of all tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _card_text(card: CheckpointCard) -> str:
    try:
        return card_to_json(card)
    except ValueError as error:
        raise CheckpointError(f"The checkpoint's card cannot be written: {error}; correct that field.") from error


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, or nothing: it appears under its name when it is complete."""
    with replacing(path) as partial:
        partial.write_bytes(save(dict(tensors), dict(metadata)))  # not save_file, whose files only their owner can read


def _file_digest(file: Path, source: str) -> str:
    """Return the file's SHA-256; refuse early a file that is missing or could run code."""
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


def _joined(file: Path, source: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return a head's metadata, and the tensors of the whole model: the head's, and those of its base beside them."""
    _file_digest(file, source)
    metadata, head = _read(file, source, HEAD_FORMAT)
    _, base = _read(shipped_path(metadata.get("base", BUNDLED)), source)
    return metadata, base | head


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return tensors_digest({"": one}) == tensors_digest({"": other})


def _read(file: Path, source: str, wanted: str = FORMAT) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return metadata and tensors as stored in a file of the format `wanted`."""
    try:
        with safe_open(file, "pt") as opened:
            metadata: dict[str, str] = opened.metadata() or {}
            _check_format(metadata, source, wanted)
            return metadata, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError, TypeError) as error:  # as torch likes it
        raise CheckpointError(f"The checkpoint {source} is damaged or no safetensors file; {_CURE}.") from error


def _check_format(metadata: Mapping[str, str], source: str, wanted: str) -> None:
    if metadata.get("format") != wanted:
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
        if tensor.dtype not in _FLOATS:  # torch can compute little with floats of eight bits
            raise CheckpointError(
                f"The checkpoint {source} holds {name} as {tensor.dtype}, not as floats of 16, 32 or 64 bits; {cure}."
            )
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"The checkpoint {source} holds values that are not finite in {name}; {cure}.")
