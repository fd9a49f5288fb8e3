"""From host memory to an accelerator without waiting for it."""

import logging
from functools import cache

import torch
from torch import Tensor

from streamer.errors import UsageError

log = logging.getLogger(__name__)


def upload(values: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """`values` on `device` in `dtype` (its own, if None); `values` itself where it is that already.

    To CUDA it goes through pinned memory of its own: the copy runs behind the host's back, and the caller may overwrite
    `values` at once. torch gives that memory out again only after the copy. Where memory cannot be pinned, and on other
    devices, the host waits for the copy.
    """
    if device.type != "cuda" or not values.is_cpu or not pins():
        return values.to(device, dtype)
    pinned = torch.empty(values.shape, dtype=dtype or values.dtype, pin_memory=True)
    return pinned.copy_(values).to(device, non_blocking=True)


@cache
def pins() -> bool:
    """Whether this machine pins memory; tried out once."""
    try:
        torch.empty(1, pin_memory=True)
    except RuntimeError as error:  # no CUDA, or a limit on locked memory
        log.info("Memory cannot be pinned here, copies to the GPU are waited for: %s", error)
        return False
    return True


def choose_device(wanted: str) -> str:
    """`auto` is CUDA where there is one, else Apple's MPS, else the CPU; anything else is taken at its word.

    Raises:
        UsageError: the device asked for is not there.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"model.device = {wanted!r}: torch finds no CUDA GPU here; use --device auto or cpu.")
    if wanted.startswith("cuda:") and int(wanted[5:]) >= torch.cuda.device_count():
        raise UsageError(
            f"model.device = {wanted!r}: there are only {torch.cuda.device_count()} CUDA GPUs, from cuda:0."
        )
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise UsageError("model.device = 'mps': torch finds no Apple GPU here; use --device auto or cpu.")
    return wanted
