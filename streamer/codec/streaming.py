"""The encoder over live audio: any chunking, several streams in one batch, exactly the offline output."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import torch
from torch import Tensor, nn

from streamer.codec.cuda_graphs import CudaGraphs, FixedStep, StepCapture
from streamer.codec.device import upload
from streamer.codec.encoder import Encoder, EncoderState
from streamer.codec.layers import END, MIDDLE, START, WHOLE, Edges
from streamer.constants import EMBEDDING_DIM, FRAME_SAMPLES, STARTUP_SAMPLES

if TYPE_CHECKING:
    from encodec.model import EncodecModel

log = logging.getLogger(__name__)

# Frames of all streams together that run through the layers at once. Longer steps are cut into such blocks: on a CPU
# the first layers' values (48 x 320 x 32 x 4 bytes = 2 MB) stay near the core, and memory does not grow with the step.
CPU_BLOCK_FRAMES = 48
BLOCK_FRAMES = 1200  # elsewhere: 16 s of one stream, 50 MB in the first layers


class Piece(NamedTuple):
    """What one stream gives to the encoder in one call. Streams with equal pieces run as one batch."""

    edges: Edges
    samples: int


@dataclass(slots=True)
class Progress:
    """How far one stream has come, as the host has to know it."""

    held: int = 0  # samples that came and cannot be encoded yet, fewer than 2,240
    started: bool = False
    ended: bool = False


class StreamingEncoder(nn.Module):
    """EnCodec's encoder over `batch_size` streams that each come in chunks of any length.

    After n samples a stream has given n // 320 frames once n >= 2,240 (93 ms: EnCodec mirrors the first samples at
    every layer, and its last layer has to see seven frames for that), and none before. The concatenated frames equal
    the offline encoder's on the whole signal, whatever the chunks.

    The weights are copied: later changes to `encoder` do not arrive here. Moving the module to another device or dtype,
    or loading weights into it, resets all streams; what was prepared has to be prepared again. On CUDA torch's own
    settings hold, TF32 convolutions among them (`torch.backends.cudnn`), and nothing waits for the GPU: audio and masks
    are best given in host memory, since a mask on the GPU must be read back. Not for several threads at once.

    Args:
        encoder: the weights.
        batch_size: the number of streams, B; `grow` adds more.
        capture: what makes one launch of a step that was prepared; by default CUDA graphs on CUDA, nothing elsewhere.

    Attributes:
        batch_size: the number of streams now.
    """

    _state: EncoderState
    _pending: Tensor  # [B, 2240]; of each row as many samples as its progress says
    _fixed: FixedStep | None
    _capture: StepCapture | None
    _prepared: int  # samples; what `_fixed` is for, or would be

    def __init__(self, encoder: Encoder, batch_size: int = 1, *, capture: StepCapture | None = None) -> None:
        super().__init__()
        self.encoder = deepcopy(encoder).eval().requires_grad_(False)
        for module in self.encoder.modules():
            if isinstance(module, nn.LSTM):
                module.flatten_parameters()  # a copy's weights lie scattered, which cuDNN warns of
        self.batch_size = batch_size
        self._given_capture = capture
        self._start_anew()
        self.register_load_state_dict_post_hook(_after_loading)  # type: ignore[no-untyped-call]

    @classmethod
    def from_encodec(cls, model: "EncodecModel", batch_size: int = 1) -> Self:
        """Streams with the encoder of a 24 kHz model of the `encodec` package; the model is copied and left as it is.

        Raises:
            UnsupportedModelError: the model is not mono, causal and at 24 kHz.
        """
        return cls(Encoder.from_encodec(model), batch_size)

    @property
    def frame_counts(self) -> Tensor:
        """`[B] int64` on the CPU: how many frames of each row of the last `step` or `flush` are real."""
        return torch.tensor(self._counts, dtype=torch.int64)

    def step(self, audio: Tensor, exec_mask: Tensor | None = None) -> Tensor:
        """The frames that `audio` completes.

        Args:
            audio: `[B, 1, S]` mono float at 24 kHz, any S >= 0; on whatever device and of whatever float type.
            exec_mask: `[B] bool`, those that take part (all, if None); the others keep their state and give no frames.

        Returns:
            `[B, 128, F]`, F being the largest count of any stream; rows are left-aligned and filled up with zeros, and
            `frame_counts` says how many frames are real.

        Raises:
            ValueError: the shape of `audio` or `exec_mask` is wrong.
            RuntimeError: a stream that takes part was flushed and not reset.
        """
        if exec_mask is None and self._in_stride(audio):
            self._counts = [audio.shape[2] // FRAME_SAMPLES] * self.batch_size
            with torch.inference_mode():
                frames: Tensor = self.encoder(audio, self._state, MIDDLE)
            # A clone made outside of inference mode is an ordinary tensor, which training may save for its gradients.
            return frames if torch.is_inference_mode_enabled() else frames.clone()
        streams = self._chosen(exec_mask)
        signal = self._signal(audio)  # [B, S]
        ended = [stream for stream in streams if self._streams[stream].ended]
        if ended and signal.shape[1]:
            raise RuntimeError(f"Stream(s) {ended} ended with flush(); call reset() before they take audio again.")
        return self._encode({stream: self._next_piece(stream, signal.shape[1]) for stream in streams}, signal)

    def _in_stride(self, audio: Tensor) -> bool:
        """Whether `audio` is what live audio mostly is: hops of all streams past their starts, and no more than a block.

        It needs nothing then but the layers. To find out what each stream can give would take a tenth of a short step.
        """
        if audio.dim() != 3 or audio.dtype != self._dtype or audio.device != self._device or self._fixed is not None:
            return False
        batch_size, channels, samples = audio.shape
        fits = 0 < batch_size * samples <= self._block_frames * FRAME_SAMPLES and samples % FRAME_SAMPLES == 0
        if not fits or (batch_size, channels) != (self.batch_size, 1):
            return False
        return all(stream.started and not stream.held and not stream.ended for stream in self._streams)

    def flush(self, mask: Tensor | None = None) -> Tensor:
        """Ends the streams of `mask: [B] bool` (all, if None) and returns the frames that were left, as `step` does.

        Together with those of `step` they are ceil(n / 320). An ended stream takes no more audio until it is reset; to
        end it once more gives nothing.
        """
        streams = self._chosen(mask)
        pieces = {
            stream: Piece(END if self._streams[stream].started else WHOLE, self._streams[stream].held)
            for stream in streams
        }
        frames = self._encode(pieces, self._pending[:, :0])
        for stream in streams:
            self._streams[stream].ended = True
        return frames

    def reset(self, mask: Tensor | None = None) -> None:
        """Starts the streams of `mask: [B] bool` (all, if None) anew, as before their first sample."""
        streams = self._chosen(mask)
        self._state.reset(self._index(streams))
        for stream in streams:
            self._streams[stream] = Progress()

    def grow(self, batch_size: int) -> None:
        """Make room for more streams, `batch_size` in all: the new ones are fresh, the others go on as if nothing were.

        State is copied once, so grow by more than one where streams come and go. What was prepared is prepared anew.

        Raises:
            ValueError: there are more streams than that already.
        """
        if batch_size < self.batch_size:
            raise ValueError(f"There are {self.batch_size} streams already, and a batch only grows; not {batch_size}.")
        before = (*self._state.tensors(), self._pending)
        self._streams += [Progress() for _ in range(batch_size - self.batch_size)]
        self.batch_size = batch_size
        self._allocate()
        for mine, old in zip((*self._state.tensors(), self._pending), before, strict=True):
            mine[: len(old)].copy_(old)
        if self._prepared:
            self.prepare(self._prepared)

    def prepare(self, samples: int) -> None:
        """Get ready for many steps of `samples`, as live audio comes in: on CUDA such a step becomes one launch.

        Streams that have begun then go through it in blocks of so many samples; whatever does not fit runs as before.
        Where it cannot be captured, a warning is logged once and everything runs as before. No stream is changed.

        Raises:
            ValueError: `samples` is no whole number of hops of 320.
        """
        if samples < FRAME_SAMPLES or samples % FRAME_SAMPLES:
            raise ValueError(
                f"A prepared step must be a whole number of hops of {FRAME_SAMPLES} samples; not {samples}."
            )
        self._prepared, self._fixed = samples, None
        if self._capture is None:
            return
        try:
            with torch.inference_mode():
                self._fixed = FixedStep(self.encoder, self._state, samples, self._capture)
        except RuntimeError as error:  # CUDA's and torch's complaints alike
            log.warning("A step cannot be captured as a whole here and goes operation by operation: %s", error)
            self._capture = None

    def forward(self, audio: Tensor, exec_mask: Tensor | None = None) -> Tensor:
        """`step`, for those who call modules."""
        return self.step(audio, exec_mask)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._start_anew()
        return self

    def _start_anew(self) -> None:
        """Compute with the weights as they are now, and where they are; all streams are fresh."""
        parameter = next(self.encoder.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype
        if parameter.is_cpu:
            self.encoder.pack()
        else:
            self.encoder.unpack()
        self._block_frames = CPU_BLOCK_FRAMES if parameter.is_cpu else BLOCK_FRAMES
        self._capture = self._given_capture
        if self._capture is None and parameter.is_cuda:
            self._capture = CudaGraphs(parameter.device)
        self._prepared = 0
        self._streams = [Progress() for _ in range(self.batch_size)]
        self._allocate()

    @torch.inference_mode(False)
    def _allocate(self) -> None:
        """Memory for `batch_size` streams, all zeros."""
        self._fixed = None  # it has the old memory in its hands
        self._state = self.encoder.init_state(self.batch_size)
        self._pending = next(self.encoder.parameters()).new_zeros(self.batch_size, STARTUP_SAMPLES)
        self._counts = [0] * self.batch_size

    def _next_piece(self, stream: int, new_samples: int) -> Piece:
        """What `stream` can encode once `new_samples` have come."""
        samples = self._streams[stream].held + new_samples
        if self._streams[stream].started:
            return Piece(MIDDLE, samples - samples % FRAME_SAMPLES)
        return Piece(START, samples - samples % FRAME_SAMPLES if samples >= STARTUP_SAMPLES else 0)

    def _encode(self, pieces: dict[int, Piece], signal: Tensor) -> Tensor:
        """The frames of all pieces, `[B, 128, F]`, cut from what is pending and `signal: [B, S]`; sets the counts."""
        counts = [0] * self.batch_size
        groups: dict[Piece, list[int]] = defaultdict(list)
        for stream, piece in pieces.items():
            counts[stream] = -(-piece.samples // FRAME_SAMPLES)
            groups[piece].append(stream)
        frames = signal.new_zeros(self.batch_size, EMBEDDING_DIM, max(counts, default=0))
        with torch.inference_mode():
            for piece, streams in groups.items():
                index = None if len(streams) == self.batch_size else self._index(streams)
                audio = self._take(streams, index, piece.samples, signal)
                if piece.samples:
                    encoded = self._run(audio.unsqueeze(1), piece.edges, index)  # [N, 128, F']
                    place = frames[:, :, : encoded.shape[-1]]
                    place.copy_(encoded) if index is None else place.index_copy_(0, index, encoded)
        for stream, piece in pieces.items():
            self._streams[stream].started |= piece.edges.first and piece.samples > 0
        self._counts = counts
        return frames

    def _take(self, streams: Sequence[int], index: Tensor | None, samples: int, signal: Tensor) -> Tensor:
        """`[N, samples]`: what is pending of `streams` and the new `signal: [B, S]`; the rest stays pending."""
        if samples == signal.shape[1] and not any(self._streams[stream].held for stream in streams):
            return signal if index is None else signal.index_select(0, index)
        taken = []
        for stream in streams:
            progress, pending = self._streams[stream], self._pending[stream]
            joined = torch.cat((pending[: progress.held], signal[stream]))
            taken.append(joined[:samples])
            progress.held = len(joined) - samples
            pending[: progress.held] = joined[samples:]
        return torch.stack(taken)

    def _run(self, audio: Tensor, edges: Edges, index: Tensor | None) -> Tensor:
        """`audio: [N, 1, S]`, pieces of the streams `index: [N]` (all, if None), to their frames `[N, 128, F]`."""
        encoded, left = [], audio
        if self._fixed is not None and edges == MIDDLE:
            while left.shape[-1] >= self._fixed.samples:
                encoded.append(self._fixed(left[..., : self._fixed.samples], index))
                left = left[..., self._fixed.samples :]
        if left.shape[-1]:
            encoded += self._run_in_blocks(left, edges, index)
        return encoded[0] if len(encoded) == 1 else torch.cat(encoded, dim=-1)

    def _run_in_blocks(self, audio: Tensor, edges: Edges, index: Tensor | None) -> list[Tensor]:
        state = self._state if index is None else self._state.select(index)
        block_samples = max(self._block_frames // len(audio) * FRAME_SAMPLES, STARTUP_SAMPLES)
        encoded = []
        for begin in range(0, audio.shape[-1], block_samples):
            block = audio[..., begin : begin + block_samples]
            encoded.append(self.encoder(block, state, edges._replace(first=edges.first and begin == 0)))
        if index is not None:
            self._state.store(index, state)
        return encoded

    def _chosen(self, mask: Tensor | None) -> Sequence[int]:
        """The streams that `mask` names."""
        if mask is None:
            return range(self.batch_size)
        if mask.shape != (self.batch_size,) or mask.dtype != torch.bool:
            raise ValueError(
                f"A mask must be [{self.batch_size}] bool, one for each stream; got {list(mask.shape)} {mask.dtype}."
            )
        return [stream for stream, chosen in enumerate(mask.tolist()) if chosen]

    def _signal(self, audio: Tensor) -> Tensor:
        """`audio: [B, 1, S]` as `[B, S]` where the weights are, in their type."""
        if audio.dim() != 3 or audio.shape[:2] != (self.batch_size, 1) or not audio.is_floating_point():
            raise ValueError(
                f"Audio must be [{self.batch_size}, 1, samples] of floats; got {list(audio.shape)} {audio.dtype}."
            )
        return upload(audio.detach(), self._device, self._dtype)[:, 0]

    def _index(self, streams: Sequence[int]) -> Tensor:
        return upload(torch.tensor(list(streams), dtype=torch.int64), self._device)


def _after_loading(module: nn.Module, incompatible_keys: object) -> None:
    """What was packed of the weights before, and what the streams kept of them, is of no use any more."""
    assert isinstance(module, StreamingEncoder)
    module._start_anew()
