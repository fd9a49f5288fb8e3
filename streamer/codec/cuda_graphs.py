"""The step of fixed shape: captured once, then launched as a whole.

A streaming step is about a hundred short operations, and on a GPU their launches cost more than their work. A CUDA
graph launches all of them at once, but always over the same memory and always the same: so audio and frames lie in
buffers that stay, every stream takes part, and a mask in device memory decides whose state moves on.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from streamer.codec.encoder import Encoder, EncoderState
from streamer.codec.layers import MIDDLE
from streamer.constants import EMBEDDING_DIM, FRAME_SAMPLES

WARM_UPS = 3  # runs before the capture: cuBLAS and cuDNN choose kernels and take workspaces, which a capture forbids


class StepCapture(Protocol):
    """Turns work on a device into something that launches all of it at once."""

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """Run `work` some times, record what it does, and return what does the same again on the same memory.

        `work` allocates nothing that outlives it but reads and writes memory that stays, and never asks the device for
        a value. Raises RuntimeError where it cannot be captured.
        """
        ...


class CudaGraphs:
    """Implements `StepCapture` with CUDA graphs, each with memory of its own.

    As torch asks for: warm-up and capture run on one side stream, which waits for what was launched before and is
    waited for after. Other threads may use the GPU meanwhile ("thread_local").
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        with torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                for _ in range(WARM_UPS):
                    work()
            torch.cuda.current_stream().wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                work()
        return graph.replay  # the bound method keeps the graph and its memory


class FixedStep:
    """One step of exactly `samples` for streams that have begun, all of them at once, over memory that stays.

    Args:
        encoder: where and in which type its weights are, the step runs.
        state: of all streams, B; written in place, and never while the step is being captured.
        samples: a whole number of hops of 320.
        capture: what makes one launch of it.

    Raises:
        RuntimeError: it cannot be captured.
    """

    def __init__(self, encoder: Encoder, state: EncoderState, samples: int, capture: StepCapture) -> None:
        parameter = next(encoder.parameters()).detach()
        batch_size = next(state.tensors()).shape[0]
        self.samples = samples
        self._encoder = encoder
        self._state = state
        self._everyone = torch.arange(batch_size, device=parameter.device)
        self._mask = torch.zeros(batch_size, dtype=torch.bool, device=parameter.device)  # nobody, while capturing
        self._audio = parameter.new_zeros(batch_size, 1, samples)
        self._frames = parameter.new_zeros(batch_size, EMBEDDING_DIM, samples // FRAME_SAMPLES)
        self._launch = capture(self._work)

    def __call__(self, audio: Tensor, streams: Tensor | None) -> Tensor:
        """`audio: [N, 1, samples]` of the `streams: [N] int64` (all in order, if None) to their frames `[N, 128, F]`."""
        if streams is None:
            self._mask.fill_(True)
            self._audio.copy_(audio)
        else:
            self._mask.zero_().index_fill_(0, streams, True)
            self._audio.index_copy_(0, streams, audio)
        self._launch()
        return self._frames.clone() if streams is None else self._frames.index_select(0, streams)

    def _work(self) -> None:
        """All streams are encoded; of those outside the mask nothing is kept."""
        after = self._state.select(self._everyone)
        self._frames.copy_(self._encoder(self._audio, after, MIDDLE))
        for mine, new in zip(self._state.tensors(), after.tensors(), strict=True):
            taking_part = self._mask.view(-1, *(1,) * (mine.dim() - 1))
            mine.copy_(torch.where(taking_part, new, mine))
