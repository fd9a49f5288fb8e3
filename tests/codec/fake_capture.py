"""A CUDA graph for the CPU: records the operations of one run, and does just these again on the same memory."""

from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape(TorchDispatchMode):
    """Every operation while it is the mode, with the very tensors it worked on. No Python runs again in `replay`."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        for func, args, kwargs, out in self.calls:
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)  # where the operations after it look for it


class FakeCapture:
    """Implements `StepCapture`."""

    def __init__(self) -> None:
        self.captures = 0
        self.launches = 0

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        work()
        with Tape() as tape:
            work()
        self.captures += 1

        def launch() -> None:
            self.launches += 1
            tape.replay()

        return launch


class NoCapture:
    """Implements `StepCapture` where the device cannot."""

    def __init__(self) -> None:
        self.tries = 0

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        self.tries += 1
        work()
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
