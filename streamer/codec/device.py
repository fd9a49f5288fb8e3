"""Choose the torch device, and copy tensors to it without making the host wait."""

import logging
from functools import cache

import torch
from torch import Tensor

from streamer.errors import UsageError

logger = logging.getLogger(__name__)


def upload(values: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return `values` on `device` in `dtype` (their own, if None); `values` itself if nothing has to change.

    For CUDA the values are first copied to pinned memory: the transfer is asynchronous and the caller may overwrite
    `values` at once. torch reuses that memory only after the transfer. Where memory cannot be pinned, and on other
    devices, the host waits for the copy.
    """
    if device.type != "cuda" or not values.is_cpu or not can_pin_memory():
        return values.to(device, dtype)
    pinned = torch.empty(values.shape, dtype=dtype or values.dtype, pin_memory=True)
    return pinned.copy_(values).to(device, non_blocking=True)


@cache
def can_pin_memory() -> bool:
    """Return whether this machine can pin memory; tried once per process."""
    try:
        torch.empty(1, pin_memory=True)
    except RuntimeError as error:  # no CUDA, or a limit on locked memory
        logger.info("Memory cannot be pinned here, so the host waits for copies to the GPU: %s", error)
        return False
    return True


def choose_device(wanted: str) -> str:
    """Return the torch device for `wanted`: `auto` is CUDA if available, else Apple's MPS, else the CPU.

    Raises:
        UsageError: the wanted device is not available.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"model.device = {wanted!r}: torch finds no CUDA GPU here; use --device auto or cpu.")
    if wanted.startswith("cuda:") and int(wanted[5:]) >= torch.cuda.device_count():
        raise UsageError(
            f"model.device = {wanted!r}: torch finds {torch.cuda.device_count()} CUDA GPU(s), numbered from cuda:0; "
            "use one of those, --device auto or cpu."
        )
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise UsageError("model.device = 'mps': torch finds no Apple GPU here; use --device auto or cpu.")
    return wanted
