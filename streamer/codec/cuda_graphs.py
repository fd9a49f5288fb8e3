"""A step of fixed shape, captured once as a CUDA graph and then launched as a whole.

A streaming step is about a hundred short operations, and on a GPU their launches cost more than their work. A CUDA
graph launches all of them at once, but always the same operations over the same memory. Audio and frames therefore
live in fixed buffers, every stream is encoded, and a mask in device memory decides which streams' state advances.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from streamer.codec.encoder import Encoder, EncoderState
from streamer.codec.layers import MIDDLE
from streamer.constants import EMBEDDING_DIM, FRAME_SAMPLES

WARM_UPS = 3  # runs before the capture: cuBLAS and cuDNN choose kernels and allocate workspaces, which it forbids


class StepCapture(Protocol):
    """Records work on a device so that one launch repeats all of it."""

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """Run `work` a few times, record it, and return a function that repeats it on the same memory.

        `work` allocates nothing that outlives the call, reads and writes fixed memory, and never reads a value back
        from the device. Raises RuntimeError where it cannot be captured.
        """
        ...


class CudaGraphs:
    """Implements `StepCapture` with CUDA graphs, each with its own memory pool.

    As torch requires, warm-up and capture run on one side stream, synchronised with the current stream before and
    after. Other threads may use the GPU meanwhile ("thread_local").
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
    """One step of exactly `samples` for all streams at once, which must be past their start, over fixed memory.

    Args:
        encoder: the step runs on the device and in the dtype of its weights.
        state: of all B streams; written in place, but not during the capture.
        samples: a whole number of frames of 320 samples.
        capture: records the step as one launch.

    Raises:
        RuntimeError: the step cannot be captured.
    """

    def __init__(self, encoder: Encoder, state: EncoderState, samples: int, capture: StepCapture) -> None:
        parameter = next(encoder.parameters()).detach()
        batch_size = next(state.tensors()).shape[0]
        self.samples = samples
        self._encoder = encoder
        self._state = state
        self._all_streams = torch.arange(batch_size, device=parameter.device)
        self._mask = torch.zeros(batch_size, dtype=torch.bool, device=parameter.device)  # no stream during the capture
        self._audio = parameter.new_zeros(batch_size, 1, samples)
        self._frames = parameter.new_zeros(batch_size, EMBEDDING_DIM, samples // FRAME_SAMPLES)
        self._launch = capture(self._work)

    def __call__(self, audio: Tensor, streams: Tensor | None) -> Tensor:
        """Encode `audio: [N, 1, samples]` of `streams: [N] int64` (all in order, if None) to `[N, 128, F]`."""
        if streams is None:
            self._mask.fill_(True)
            self._audio.copy_(audio)
        else:
            self._mask.zero_().index_fill_(0, streams, True)
            self._audio.index_copy_(0, streams, audio)
        self._launch()
        return self._frames.clone() if streams is None else self._frames.index_select(0, streams)

    def _work(self) -> None:
        """Encode all streams and keep the new state of those in the mask."""
        advanced = self._state.select(self._all_streams)
        self._frames.copy_(self._encoder(self._audio, advanced, MIDDLE))
        for old, new in zip(self._state.tensors(), advanced.tensors(), strict=True):
            selected = self._mask.view(-1, *(1,) * (old.dim() - 1))
            old.copy_(torch.where(selected, new, old))
